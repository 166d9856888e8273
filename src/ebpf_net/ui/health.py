"""Whether what the table shows is all there was: collectors, signals and losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ebpf_net.schema import InternalPoint
from ebpf_net.ui.safe_text import safe_text

_SIZES = ("_bytes", "_rows")
"""Reasons that tell how much was in what another reason counts."""
_TOO_FAR = ("too_old", "too_new")
"""The reasons for which the reducer drops rows that nothing stands in for."""


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
    lost: Counter[str] = Counter()
    late_rows = 0
    collectors = 0
    missing: set[str] = set()
    for point in points:
        labels = dict(point.labels)
        reason = safe_text(labels.get("reason", ""))
        if point.name == "ebpf_net.connections":
            collectors = int(point.value)
        elif point.name == "ebpf_net.collector.lost":
            if not reason.endswith(_SIZES):
                lost[reason] += int(point.value)
        elif point.name == "ebpf_net.reducer.late_rows":
            if reason in _TOO_FAR:
                lost[reason] += int(point.value)
            else:
                late_rows += int(point.value)
        elif point.name == "ebpf_net.collector.signal" and not point.value:
            missing.add(safe_text(labels.get("signal", "")))
    reasons = tuple(sorted((+lost).items()))
    return Health(collectors, reasons, late_rows, tuple(sorted(missing)))
