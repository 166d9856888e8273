"""Whether what the table shows is all there was: collectors, signals and losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ebpf_net.schema import InternalPoint
from ebpf_net.ui.safe_text import safe_text

_SIZES = ("_bytes", "_rows")
"""Reasons that tell how much was in what another reason counts."""


@dataclass(frozen=True)
class Health:
    """What the internal metrics say at a time."""

    collectors: int
    lost: tuple[tuple[str, int], ...]  # by reason, only those above zero
    late_rows: int
    missing_signals: tuple[str, ...]

    @property
    def lost_total(self) -> int:
        """Records, rows and batches that were lost, for whatever reason."""
        return sum(count for _, count in self.lost)


def read_health(points: Sequence[InternalPoint]) -> Health:
    """Return the state that the internal metrics tell."""
    lost: dict[str, int] = {}
    late_rows = 0
    collectors = 0
    missing: set[str] = set()
    for point in points:
        labels = dict(point.labels)
        if point.name == "ebpf_net.connections":
            collectors = int(point.value)
        elif point.name == "ebpf_net.reducer.late_rows":
            late_rows += int(point.value)
        elif point.name == "ebpf_net.collector.signal" and not point.value:
            missing.add(safe_text(labels.get("signal", "")))
        elif point.name == "ebpf_net.collector.lost" and point.value:
            reason = safe_text(labels.get("reason", ""))
            if not reason.endswith(_SIZES):
                lost[reason] = lost.get(reason, 0) + int(point.value)
    return Health(
        collectors, tuple(sorted(lost.items())), late_rows, tuple(sorted(missing))
    )
