"""The kernel collector: sockets seen with eBPF."""
