"""Tests mirror src/ebpf_net; tests/world holds real things that they run against."""
