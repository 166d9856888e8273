"""An exporter that sees only some of the levels of each window."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ebpf_net.exporters.exporter import Done, Exporter
from ebpf_net.schema import InternalPoint, Window


class LevelFilter:
    """Hands an exporter the levels that the user enabled.

    The live table needs level id_id, which is not to reach the receivers for that.
    """

    def __init__(self, exporter: Exporter, levels: Collection[str]) -> None:
        self._exporter = exporter
        self._levels = frozenset(levels)

    def export(self, window: Window, done: Done) -> None:
        """Hand on the window without the other levels."""
        levels = {
            name: level for name, level in window.levels.items() if name in self._levels
        }
        self._exporter.export(replace(window, levels=levels), done)

    def export_internal(self, points: Sequence[InternalPoint], now_ns: int) -> None:
        """Hand on the points."""
        self._exporter.export_internal(points, now_ns)

    def close(self, timeout_seconds: float) -> None:
        """Close the exporter."""
        self._exporter.close(timeout_seconds)

    def metrics(self) -> list[InternalPoint]:
        """Return the exporter's own metrics."""
        return self._exporter.metrics()
