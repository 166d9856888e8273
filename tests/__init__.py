"""Tests mirror src/ebpf_net; tests/world holds the real things that they run against."""
