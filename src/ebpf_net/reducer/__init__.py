"""Tables of edges in, windows of metrics out."""
