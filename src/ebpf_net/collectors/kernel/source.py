"""The kernel as a source of records: load, attach, adopt, scan, drain, count losses.

Everything returns NumPy record arrays of ``records.py``; no Python code runs per record.
A source is used by one thread at a time; ``wait`` may run in another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_net.collectors.kernel.probes import Signal

Records = NDArray[Any]
"""A structured array of TCP_RECORD, UDP_KEY or UDP_VALUE."""


@dataclass(frozen=True)
class SourceOptions:
    """What to collect, and the bounds of the maps."""

    tcp: bool = True
    udp: bool = True
    ring_bytes: int = 8 << 20
    """A power of two; scans use at most half of it, closing sockets the rest."""
    udp_peers: int = 65536
    """Most (socket, peer) pairs that one UDP window can hold."""
    default_include: bool = True
    """Verdict for cgroups that have none, nor any of their parents."""
    wake_bytes: int = 256 << 10
    """``wait`` returns when this much is in the ring."""
    cgroup_root: str = ""
    """Mount point of cgroup v2; empty: found in the mount table."""
    host_dir: str = ""
    """Where the host's root file system is mounted, for the cgroup mount point."""
    forbid: frozenset[str] = frozenset()
    """Attach types that tests take away, such as ``tp_btf``."""


class KernelSource:
    """The programs in the kernel and their maps, from load to ``close``."""

    signals: tuple[Signal, ...]
    """What is attached and what is missing; fixed once the source exists."""

    def __init__(self, options: SourceOptions) -> None:
        """Load and attach; KernelError with a hint if nothing can work."""
        raise NotImplementedError

    def adopt(self) -> Records:
        """Take over the sockets that are open already; call once, after attaching.

        Records have the flag ADOPTED, deltas of zero and the role UNKNOWN (or
        LISTENER, for every listening socket); more than adopted sockets may be in it,
        since it drains the ring.
        """
        raise NotImplementedError

    def drain(self) -> Records:
        """All TCP records that are in the ring now."""
        raise NotImplementedError

    def wait(self, timeout_ms: int) -> bool:
        """Block until the ring holds ``wake_bytes`` or the time is over.

        True if there is something to drain. Other Python threads run meanwhile.
        """
        raise NotImplementedError

    def scan(self) -> Records:
        """Deltas of every socket that moved, and whatever the ring held."""
        raise NotImplementedError

    def recount_open(self) -> tuple[Records, Records]:
        """``(open, held)``: one record for each open connection, unique by cookie.

        Deltas in ``open`` are zero: it only rebuilds the gauge after a loss. ``held``
        is what the ring held, to be treated as what ``drain`` returns, before ``open``.
        """
        raise NotImplementedError

    def read_udp(self) -> tuple[Records, Records]:
        """``(keys, values)`` of UDP since the last call; the kernel starts anew."""
        raise NotImplementedError

    def losses(self) -> dict[str, int]:
        """What was lost since the start, by reason; counters only grow.

        ``ring_full`` (TCP records), ``ring_full_bytes`` (payload in them),
        ``storage_full`` (sockets without storage), ``udp_map_full`` (datagrams) and
        ``udp_map_full_bytes``.
        """
        raise NotImplementedError

    def set_cgroup_verdict(self, cgroup_id: int, include: bool) -> None:
        """Collect (or leave out) new sockets of this cgroup and of those below it."""
        raise NotImplementedError

    def forget_cgroup(self, cgroup_id: int) -> None:
        """Remove the verdict of a cgroup that is gone."""
        raise NotImplementedError

    def close(self) -> None:
        """Detach and unload everything; a second call does nothing."""
        raise NotImplementedError

    def __enter__(self) -> KernelSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def preflight(options: SourceOptions) -> tuple[Signal, ...]:
    """Load and attach each signal by itself and detach it again.

    Never raises for a feature that the kernel lacks.
    """
    raise NotImplementedError


def empty_records(dtype: np.dtype[Any]) -> Records:
    """An array of no records."""
    return np.empty(0, dtype)
