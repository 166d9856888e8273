"""The collector's loop: from the kernel's records to a batch for each window.

Windows end at multiples of the interval on the wall clock, so that those of all
collectors agree. The first one is short, for a first row within a second.
"""

from __future__ import annotations

import hashlib
import logging
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ebpf_net.collectors.batches import BatchMaker
from ebpf_net.collectors.clock import Clock
from ebpf_net.collectors.encode import count_rows
from ebpf_net.collectors.free_memory import return_free_memory
from ebpf_net.collectors.hosts import Host
from ebpf_net.collectors.kernel.address_translation import AddressTranslation
from ebpf_net.collectors.kernel.cgroup_filter import CgroupFilter
from ebpf_net.collectors.kernel.cgroup_tree import CgroupTree, find_cgroup_root
from ebpf_net.collectors.kernel.cgroups import CgroupTable
from ebpf_net.collectors.kernel.container_runtimes import (
    ContainerRuntimes,
    RuntimeSockets,
)
from ebpf_net.collectors.kernel.edge_parts import MAX_BATCH_ROWS, split_edges
from ebpf_net.collectors.kernel.edges import EdgeTable
from ebpf_net.collectors.kernel.instance_metadata import InstanceMetadata
from ebpf_net.collectors.kernel.instance_metadata_choice import (
    InstanceMetadataOptions,
)
from ebpf_net.collectors.kernel.probes import Signal
from ebpf_net.collectors.kernel.processes import ProcessTable
from ebpf_net.collectors.kernel.source import KernelSource
from ebpf_net.collectors.kernel.window import WindowBuilder, WindowTables
from ebpf_net.collectors.row_table import Table
from ebpf_net.intake.batch import Batch

_LOG = logging.getLogger(__name__)

_SECOND_NS = 1_000_000_000
_MILLISECOND_NS = 1_000_000
_FIRST_WINDOW_NS = _SECOND_NS // 2
_LONGEST_WAIT_NS = _SECOND_NS // 2
_LONGEST_HOLD_NS = (
    _SECOND_NS // 2
)  # then it may be too late to read a process's program
_OTHER_ENDS_SECONDS = 0.2
_NAMES_WAIT_SECONDS = 0.2  # once for new containers, to name them in their first rows
_STEP_NS = _SECOND_NS // 4  # the wall clock moved by more than slewing does
_STOP_SECONDS = 1.0
_CAUSES_OF_RECOUNT = ("ring_full", "storage_full", "missed_ends")


@dataclass(frozen=True)
class CollectorOptions:
    """What to collect and how to tell it."""

    host: Host
    interval_seconds: float = 10.0
    include_cgroup: tuple[str, ...] = ()
    exclude_cgroup: tuple[str, ...] = ()
    keep_client_port: bool = False
    leave_out_loopback: bool = False
    max_edges: int = 100_000
    container_sockets: RuntimeSockets = field(default_factory=RuntimeSockets)
    instance_metadata: InstanceMetadataOptions = field(
        default_factory=InstanceMetadataOptions
    )
    """Nobody is asked, unless it says so."""
    host_dir: Path | None = None
    cgroup_root: Path | None = None
    """Where cgroup v2 is mounted; None: where it usually is."""
    more_signals: tuple[Signal, ...] = ()
    """Signals that are not of the source."""


class KernelCollector:
    """Turns a kernel's records into batches and hands them to ``send``.

    ``run`` occupies its thread until ``stop``; ``stop`` and ``snapshot`` may be called
    by any thread. ``send`` must not block for long: meanwhile the ring fills.
    """

    def __init__(
        self,
        source: KernelSource,
        clock: Clock,
        options: CollectorOptions,
        send: Callable[[Batch], None],
        translation: AddressTranslation | None = None,
    ) -> None:
        self._source = source
        self._clock = clock
        self._options = options
        self._send = send
        self._translation = translation
        self._batches = BatchMaker(
            collector_id(options), options.host.host_id, clock.wall_ns(), self._status
        )
        self._stopped = threading.Event()
        self._containers = ContainerRuntimes(
            options.container_sockets, options.host_dir
        )
        self._metadata = InstanceMetadata(options.instance_metadata, clock.wall_ns)
        self._cgroups = self._make_cgroups()
        self._edges = EdgeTable(options.max_edges)
        self._builder = WindowBuilder(
            self._edges,
            ProcessTable(),
            self._cgroups,
            keep_client_port=options.keep_client_port,
            leave_out_loopback=options.leave_out_loopback,
            translation=translation,
        )
        self._host_is_told = False
        self._clock_steps = 0
        self._began_ns = clock.monotonic_ns()  # the running window
        self._clock_offset_ns = clock.wall_ns() - clock.monotonic_ns()
        self._losses: dict[str, int] = {}
        self._next_logged_loss = 1

    def run(self) -> None:
        """Collect until ``stop``, then hand over the last window and return."""
        try:
            self._metadata.start()
            self._cgroups.start()
            self._losses = self._source.losses()
            start_ns = self._clock.wall_ns()
            self._look_for_translation()
            self._builder.add_tcp(self._source.adopt())
            end_ns = min(start_ns + _FIRST_WINDOW_NS, self._boundary_after(start_ns))
            while not self._stopped.is_set():
                start_ns, end_ns = self._collect_window(start_ns, end_ns)
            self._finish_last_window(start_ns)
        finally:
            self._metadata.stop()
            self._containers.stop()
            self._metadata.join(_STOP_SECONDS)

    def stop(self) -> None:
        """Ask ``run`` to end; returns at once."""
        self._stopped.set()

    def snapshot(self) -> Batch:
        """Return the whole reference tables as a batch."""
        tables = {"hosts": self._options.host.columns(), **self._builder.snapshot()}
        return self._batches.snapshot({**tables, **self._metadata.snapshot()})

    def _collect_window(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """Collect until the window's end, or a stop; return the next window's times."""
        self._began_ns = settled_ns = self._clock.monotonic_ns()
        while not self._stopped.is_set():
            now_ns = self._clock.wall_ns()
            if self._clock_stepped():
                self._finish_window(self._start_as_told_now(now_ns), now_ns)
                return now_ns, self._boundary_after(now_ns)
            if now_ns >= end_ns:
                self._finish_window(start_ns, end_ns)
                return end_ns, self._boundary_after(max(end_ns, now_ns))
            wait_ns = min(end_ns - now_ns, _LONGEST_WAIT_NS)
            self._source.wait(-(-wait_ns // _MILLISECOND_NS))
            self._builder.add_tcp(self._source.drain())
            if self._clock.monotonic_ns() - settled_ns >= _LONGEST_HOLD_NS:
                settled_ns = self._clock.monotonic_ns()
                self._builder.settle()
                self._take_container_answers()
        return start_ns, end_ns

    def _finish_last_window(self, start_ns: int) -> None:
        now_ns = self._clock.wall_ns()
        if self._clock_stepped():
            start_ns = self._start_as_told_now(now_ns)
        self._finish_window(start_ns, max(start_ns, now_ns))

    def _start_as_told_now(self, now_ns: int) -> int:
        """Return when the window began, by the clock as it is after a step."""
        return now_ns - (self._clock.monotonic_ns() - self._began_ns)

    def _look_for_translation(self) -> None:
        if self._translation:
            self._translation.look()

    def _finish_window(self, start_ns: int, end_ns: int) -> None:
        self._look_for_translation()
        self._builder.add_tcp(self._source.scan())
        self._builder.add_udp(*self._source.read_udp())
        self._recount_after_loss()
        self._builder.settle_roles()
        self._containers.wait_answers(_NAMES_WAIT_SECONDS)
        self._take_container_answers()
        self._wait_for_other_ends()
        self._send_window(self._builder.finish(), start_ns, end_ns)
        return_free_memory()

    def _wait_for_other_ends(self) -> None:
        """Let this window have the translations of what ends count a moment later.

        Their clocks differ, and what they read at the window's end is not of one
        moment. A translation that is told early does no harm.
        """
        if self._translation and self._translation.is_listening:
            select.select([], [], [], _OTHER_ENDS_SECONDS)

    def _send_window(self, window: WindowTables, start_ns: int, end_ns: int) -> None:
        tables: dict[str, Table] = {}
        if not self._host_is_told:
            tables["hosts"] = self._options.host.columns()
            self._host_is_told = True
        tables |= {
            name: table
            for name, table in window.references.items()
            if count_rows({name: table})
        }
        tables |= self._metadata.take_changes()
        edges: list[dict[str, Table]] = [
            {"edges": part.edges, "edge_samples": part.samples}
            for part in split_edges(window.edges, MAX_BATCH_ROWS)
        ]
        edges[0] = tables | edges[0]
        for batch in self._batches.window(edges, start_ns, end_ns):
            self._send(batch)

    def _recount_after_loss(self) -> None:
        losses = self._source.losses()
        lost = any(
            losses.get(cause, 0) > self._losses.get(cause, 0)
            for cause in _CAUSES_OF_RECOUNT
        )
        self._losses = losses
        if lost:
            self._log_losses()
            still_open, held = self._source.recount_open()
            self._builder.add_tcp(held)
            self._builder.restart_open(still_open)

    def _log_losses(self) -> None:
        total = sum(self._losses.get(cause, 0) for cause in _CAUSES_OF_RECOUNT)
        if total >= self._next_logged_loss:
            self._next_logged_loss = 10 * total  # seldom enough for any rate
            _LOG.warning(
                "%d records were lost since the start; open connections are counted "
                "anew",
                total,
            )

    def _take_container_answers(self) -> None:
        for question, details in self._containers.take_answers():
            self._builder.add_details(question, details)

    def _clock_stepped(self) -> bool:
        offset_ns = self._clock.wall_ns() - self._clock.monotonic_ns()
        moved_ns = offset_ns - self._clock_offset_ns
        self._clock_offset_ns = offset_ns
        if abs(moved_ns) < _STEP_NS:
            return False
        self._clock_steps += 1
        _LOG.warning("the clock was set by %.3f s", moved_ns / _SECOND_NS)
        return True

    def _boundary_after(self, time_ns: int) -> int:
        interval_ns = int(self._options.interval_seconds * _SECOND_NS)
        return (time_ns // interval_ns + 1) * interval_ns

    def _status(self) -> dict[str, int]:
        status = {f"lost.{reason}": count for reason, count in self._losses.items()}
        status["lost.overflow_records"] = self._edges.overflowed_records
        for signal in (*self._source.signals, *self._options.more_signals):
            attach = signal.attach.split("/", 1)[0]
            status[f"signal.{signal.name}.{attach or 'none'}"] = int(bool(attach))
        return status | {
            "filtered.records": self._builder.filtered_records,
            "clock.steps": self._clock_steps,
            **self._containers.status(),
            **self._metadata.status(),
            **(self._translation.status() if self._translation else {}),
        }

    def _make_cgroups(self) -> CgroupTable:
        options = self._options
        root = options.cgroup_root or find_cgroup_root(options.host_dir)
        return CgroupTable(
            CgroupTree(root),
            CgroupFilter(options.include_cgroup, options.exclude_cgroup),
            set_verdict=self._source.set_cgroup_verdict,
            forget_verdict=self._source.forget_cgroup,
            ask_details=self._containers.ask,
        )


def collector_id(options: CollectorOptions) -> str:
    """Return what tells this collector from all others, the same at each start."""
    filters = repr((options.include_cgroup, options.exclude_cgroup))
    digest = hashlib.sha256(filters.encode()).hexdigest()
    return f"{options.host.machine_id[:12]}-{digest[:8]}"
