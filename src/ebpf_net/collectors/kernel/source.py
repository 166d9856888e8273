"""The kernel as a source of records: load, attach, adopt, scan, drain, count losses.

Everything returns NumPy record arrays (``records.py``); no Python code runs per record.
A source is used by one thread at a time; ``wait`` may run in another one.
"""

from __future__ import annotations

import select
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_net.collectors.kernel.libbpf import (
    Ring,
    delete_key,
    empty_map,
    forget_kernel_types,
    sum_per_cpu,
    update_map,
)
from ebpf_net.collectors.kernel.probes import Signal, attach_all, try_each
from ebpf_net.collectors.kernel.records import (
    TCP_RECORD,
    UDP_KEY,
    UDP_VALUE,
    Life,
    Loss,
    TcpFlag,
)

_MADE_UP_FOR = frozenset({"tcp_state_tp_btf"})
"""Programs whose work another one does, later, if the kernel skips them."""

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
    wake_bytes: int = 512 << 10
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
        try:
            self._attachment, self.signals = attach_all(options)
        finally:
            forget_kernel_types()
        self._object = self._attachment.object
        self._links = self._attachment.links
        self._ring = Ring(self._object.map_fd("events"), TCP_RECORD)
        self._verdicts = self._object.map_fd("cgroup_verdicts")
        self._losses = self._object.map_fd("losses")
        self._lives = self._object.map_fd("lives")
        self._missed_ends = 0
        self._udp_grace = self._object.map_fd("udp_grace")
        self._udp_maps = tuple(
            self._object.map_fd(f"udp_peers_{name}") for name in ("even", "odd")
        )
        self._udp_window = 0
        self._recounts = 0
        self._filter_changes = 0
        self._poll = select.epoll()
        self._poll.register(
            self._object.map_fd("events"), select.EPOLLIN | select.EPOLLET
        )

    def adopt(self) -> Records:
        """Take over the sockets that are open already; call once, after attaching.

        Records have the flag ADOPTED, deltas of zero and the role UNKNOWN (or
        LISTENER, for every listening socket); more than adopted sockets may be in it,
        since it drains the ring.
        """
        if "adopt_files" not in self._links:
            return self.drain()
        for busy in (False, False, True):
            self._object.set_variable("adopt_busy", busy)
            self._object.set_variable("adopt_postponed", 0)
            self._run_to_end("adopt_files")
            if not self._object.get_variable("adopt_postponed"):
                break
        return self._ring.take()

    def drain(self) -> Records:
        """All TCP records that are in the ring now."""
        return self._ring.take()

    def wait(self, timeout_ms: int) -> bool:
        """Block until the ring holds ``wake_bytes`` or the time is over.

        True if there is something to drain. Other Python threads run meanwhile.
        """
        return bool(self._poll.poll(timeout_ms / 1000))

    def scan(self) -> Records:
        """Deltas of every socket that moved, and whatever the ring held."""
        begun = sum_per_cpu(self._lives, Life.BEGUN)
        if self._run_to_end("tcp_scan"):
            ended = sum_per_cpu(self._lives, Life.ENDED)
            alive = self._object.get_variable("scan_alive")
            # Less than were missed if some ended while we looked, never more.
            self._missed_ends = max(self._missed_ends, begun - ended - alive)
        return self._ring.take()

    def recount_open(self) -> tuple[Records, Records]:
        """``(open, held)``: one record for each open connection, unique by cookie.

        Deltas in ``open`` are zero: it only rebuilds the gauge after a loss. ``held``
        is what the ring held, to be treated as what ``drain`` returns, before ``open``.
        """
        self._recounts += 1
        self._object.set_variable("recount_generation", self._recounts)
        self._run_to_end("tcp_recount")
        records = self._ring.take()
        recounted = (records["flags"] & TcpFlag.OPEN) != 0
        held, found = records[~recounted], records[recounted]
        _, first = np.unique(found["cookie"], return_index=True)
        closed = held["cookie"][(held["flags"] & TcpFlag.CLOSED) != 0]
        found = found[first]
        return found[~np.isin(found["cookie"], closed)], held

    def read_udp(self) -> tuple[Records, Records]:
        """``(keys, values)`` of UDP since the last call; the kernel starts anew."""
        retired = self._udp_window
        self._udp_window = 1 - retired
        self._object.set_variable("udp_window", self._udp_window)
        # Returns when every program that saw the old number has ended.
        update_map(self._udp_grace, bytes(4), self._udp_maps[0].to_bytes(4, "little"))
        return empty_map(self._udp_maps[retired], UDP_KEY, UDP_VALUE)

    def losses(self) -> dict[str, int]:
        """What was lost since the start, by reason; counters only grow.

        ``ring_full`` (TCP records), ``ring_full_bytes`` (payload in them),
        ``storage_full`` (sockets without storage), ``udp_map_full`` (datagrams),
        ``udp_map_full_bytes``, ``skipped_events`` (that nothing makes up for) and
        ``missed_ends`` (of connections that are gone; known from the next scan on).
        """
        lost = {
            reason.name.lower(): sum_per_cpu(self._losses, reason)
            for reason in Loss
            if reason != Loss.REASONS
        }
        return lost | {
            "skipped_events": sum(self.skipped_runs().values()),
            "missed_ends": self._missed_ends,
        }

    def skipped_runs(self, made_up_for: bool = False) -> dict[str, int]:
        """How often the kernel skipped each program that was running on that CPU.

        Only of those that alone know of their event, unless ``made_up_for``: what the
        program of the state misses, the scan or the end of the socket tells.
        """
        return {
            program: self._object.skipped_runs(program)
            for program in self._links
            if made_up_for or program not in _MADE_UP_FOR
        }

    def set_cgroup_verdict(self, cgroup_id: int, include: bool) -> None:
        """Collect (or leave out) this cgroup and those below it.

        Holds for new TCP sockets, and for UDP sockets from their next datagram on.
        """
        update_map(self._verdicts, _cgroup_key(cgroup_id), bytes([include]))
        self._object.set_variable("filter_active", True)
        self._tell_filter_changed()

    def forget_cgroup(self, cgroup_id: int) -> None:
        """Remove the verdict of a cgroup that is gone; what it left out stays so."""
        delete_key(self._verdicts, _cgroup_key(cgroup_id))
        self._tell_filter_changed()

    def close(self) -> None:
        """Detach and unload everything; a second call does nothing."""
        self._poll.close()
        self._ring.close()
        self._attachment.close()

    def _tell_filter_changed(self) -> None:
        """Make UDP sockets ask again; after the change itself."""
        self._filter_changes += 1
        self._object.set_variable("filter_generation", self._filter_changes)

    def _run_to_end(self, program: str) -> bool:
        """Repeat an iterator until a whole pass had room in the ring; False: none."""
        if program not in self._links:
            return False
        before = self._ring.fill()
        while not self._run_once(program):
            held = self._ring.fill()
            if held == before:
                # Not the ring: the kernel's own limit of objects for one read.
                return False
            before = held
        return True

    def _run_once(self, program: str) -> bool:
        self._object.set_variable("scan_alive", 0)
        return self._links[program].run_iterator()

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
    return try_each(options)


def _cgroup_key(cgroup_id: int) -> bytes:
    return (cgroup_id & (1 << 64) - 1).to_bytes(8, sys.byteorder)
