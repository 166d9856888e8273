"""ebpf-net: who talks to whom, how much and how well, seen from inside the kernel."""
