"""Give up, once the programs are loaded, every capability that is not needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from ebpf_net.collectors.kernel.libbpf import keep_capabilities
from ebpf_net.errors import KernelError


class Capability(IntEnum):
    """Numbers of include/uapi/linux/capability.h."""

    DAC_READ_SEARCH = 2
    NET_ADMIN = 12
    SYS_PTRACE = 19
    SYS_ADMIN = 21
    PERFMON = 38
    BPF = 39


def drop_capabilities(
    try_maps: Callable[[], object], keep: frozenset[Capability] = frozenset()
) -> frozenset[Capability]:
    """Keep only ``keep``, and CAP_BPF where ``try_maps`` fails without it.

    Loading and attaching need CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; maps, iterators
    and rings that are open need none, or on kernels before 5.19 CAP_BPF. Call it
    before any thread is started: capabilities belong to a thread, and new threads get
    those of the one that starts them. ``try_maps`` is such as ``source.losses``.
    """
    if not _works_without(try_maps):
        keep |= {Capability.BPF}
    _keep(keep)
    return keep


def _works_without(try_maps: Callable[[], object]) -> bool:
    """Try it in a thread that has no capabilities, and ends."""
    worked = False

    def attempt() -> None:
        nonlocal worked
        _keep(frozenset())
        try:
            try_maps()
        except KernelError:
            return
        worked = True

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return worked


def _keep(capabilities: frozenset[Capability]) -> None:
    """Keep those of ``capabilities`` that the thread has."""
    wanted = sum(1 << capability for capability in capabilities)
    keep_capabilities(wanted & _permitted())


def _permitted() -> int:
    status = Path("/proc/thread-self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("CapPrm:"))
    return int(line.split()[1], 16)
