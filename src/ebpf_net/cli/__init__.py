"""The commands: the one place that builds things and joins the rooms."""

from ebpf_net.cli.commands import kernel_collector_main, main, reducer_main

__all__ = ("kernel_collector_main", "main", "reducer_main")
