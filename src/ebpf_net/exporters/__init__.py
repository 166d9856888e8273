"""Windows to the outside: OTLP, Prometheus, JSON lines."""
