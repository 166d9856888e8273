"""The gauges of the latest window, with what came late for it added."""

from __future__ import annotations

from ebpf_net.exporters.cumulative import CumulativeState
from ebpf_net.exporters.edge_blocks import LevelSeries, window_series
from ebpf_net.schema import Window


class LatestGauges:
    """Keeps the windows of the latest time; those of one time add up."""

    def __init__(self, series_limit: int) -> None:
        self._series_limit = series_limit
        self._windows: list[Window] = []

    def add(self, window: Window) -> bool:
        """Take a window; return False for one that is older than the latest."""
        latest = self._windows[0].start_ns if self._windows else window.start_ns
        if window.start_ns < latest:
            return False
        if window.start_ns > latest:
            self._windows = []
        self._windows.append(window)
        return True

    @property
    def merged(self) -> bool:
        """Whether the latest values are from more than one window."""
        return len(self._windows) > 1

    def levels(self) -> dict[str, LevelSeries]:
        """Return the levels of the latest window; their sums are good for gauges."""
        if not self.merged:
            return window_series(self._windows[0])
        state = CumulativeState(self._series_limit, len(self._windows) + 1)
        for window in self._windows:
            state.add(window)
        return state.totals()
