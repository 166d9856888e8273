"""The commands: the one place that builds things and joins the rooms."""

from ebpf_net.cli.commands import (
    cloud_collector_main,
    k8s_collector_main,
    kernel_collector_main,
    main,
    reducer_main,
)

__all__ = (
    "cloud_collector_main",
    "k8s_collector_main",
    "kernel_collector_main",
    "main",
    "reducer_main",
)
