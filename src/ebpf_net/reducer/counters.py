"""What the reducer counts of itself, as internal metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from ebpf_net.reducer.ingest import Collector
from ebpf_net.reducer.keys import Bool
from ebpf_net.schema import InternalPoint

_LATE = ("counted", "superseded", "too_old", "too_new")
_GAP_RESULTS = ("covered", "lost")
_STAGES = ("ingest", "matching", "enrichment", "aggregation")


@dataclass
class Counters:
    """Counts for ``points`` of any thread; the dictionaries never change their keys.

    ``late``, ``stage_seconds`` and ``gap_rows`` are by their label, ``edges`` is a
    gauge.
    """

    late: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_LATE, 0))
    stage_seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(_STAGES, 0.0)
    )
    gap_rows: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(_GAP_RESULTS, 0)
    )
    handover_rows: int = 0
    unresolved_rows: int = 0
    windows: int = 0
    edges: int = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the thread's CPU time in a stage."""
        began = time.thread_time()
        try:
            yield
        finally:
            spent = time.thread_time() - began
            self.stage_seconds[name] += spent

    def count_late(self, counted: Bool) -> None:
        """Count the rows of a late batch, by whether they counted."""
        self.late["counted"] += int(counted.sum())
        self.late["superseded"] += int((~counted).sum())

    def points(self) -> list[InternalPoint]:
        """Return the counts as metrics."""
        late = (
            InternalPoint("ebpf_net.reducer.late_rows", value, (("reason", reason),))
            for reason, value in self.late.items()
        )
        stages = (
            InternalPoint("ebpf_net.reducer.stage_seconds", value, (("stage", stage),))
            for stage, value in self.stage_seconds.items()
        )
        gaps = (
            InternalPoint("ebpf_net.reducer.gap_rows", value, (("result", result),))
            for result, value in self.gap_rows.items()
        )
        return [
            *late,
            *stages,
            *gaps,
            InternalPoint("ebpf_net.reducer.handover_rows", self.handover_rows),
            InternalPoint("ebpf_net.reducer.unresolved_rows", self.unresolved_rows),
            InternalPoint("ebpf_net.reducer.windows", self.windows),
            InternalPoint("ebpf_net.reducer.edges", self.edges),
        ]


def collector_points(
    collectors: Iterable[Collector], now_ns: int
) -> list[InternalPoint]:
    """Return when each collector was last heard, its clock's error, and its gaps."""
    points = []
    for collector in collectors:
        labels = (("collector", collector.name), ("host", collector.host))
        silent_ns = max(0, now_ns - collector.last_received_ns)
        offset_ns = -collector.clock.delay_ns
        points += [
            InternalPoint("ebpf_net.time_since_last_message_ns", silent_ns, labels),
            InternalPoint("ebpf_net.clock_offset_ns", offset_ns, labels),
            InternalPoint(
                "ebpf_net.collector.gap_seconds", collector.gap_ns / 1e9, labels
            ),
        ]
    return points


def overflow_points(counts: Mapping[tuple[str, str], int]) -> list[InternalPoint]:
    """Return what became of overflow edges, by (result, unit)."""
    return [
        InternalPoint(f"ebpf_net.reducer.overflow_{unit}", value, (("result", result),))
        for (result, unit), value in counts.items()
    ]
