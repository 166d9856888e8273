"""Windows to a person."""
