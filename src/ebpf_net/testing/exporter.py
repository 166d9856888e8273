"""An exporter that keeps what it is given, and says "done" when the test wants."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow.compute as pc

from ebpf_net.exporters.exporter import Done
from ebpf_net.schema import InternalPoint, Window


class ListExporter:
    """Keeps windows. With ``holds``, a window is done by ``release`` only."""

    def __init__(self, *, holds: bool = False) -> None:
        self.windows: list[Window] = []
        self.points: list[InternalPoint] = []
        self._holds = holds
        self._waiting: list[Done] = []

    def export(self, window: Window, done: Done) -> None:
        """Keep a window."""
        self.windows.append(window)
        self._waiting.append(done)
        if not self._holds:
            self.release()

    def release(self) -> None:
        """Say that all windows so far have been delivered."""
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(True)

    def export_internal(self, points: Sequence[InternalPoint], now_ns: int) -> None:  # noqa: ARG002 - the interface
        """Keep the points."""
        self.points = list(points)

    def close(self, timeout_seconds: float) -> None:  # noqa: ARG002 - the interface
        """Release what waits."""
        self.release()

    def metrics(self) -> list[InternalPoint]:
        """Return none."""
        return []

    def total(self, column: str, level: str = "az_az") -> int:
        """Return the sum of a column of LEVEL_EDGES over all windows."""
        values = [window.levels[level].edges.column(column) for window in self.windows]
        return sum(int(pc.sum(column).as_py() or 0) for column in values)
