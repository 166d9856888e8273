"""The JSON lines exporter: windows to a text stream, as ``ebpf-net ... | jq`` wants."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TextIO

from ebpf_net.exporters.exporter import Done
from ebpf_net.exporters.json_text import render_window
from ebpf_net.metrics import Metric
from ebpf_net.schema import InternalPoint, Window

_LOGGER = logging.getLogger(__name__)


class JsonLinesExporter:
    """Writes windows on a thread of its own, as a pipe may block; an Exporter.

    When the reader has gone, ``on_closed`` is called once and windows are no longer
    written. The oldest window that waits is dropped if there are too many.
    """

    def __init__(
        self,
        stream: TextIO,
        metrics: Sequence[Metric],
        on_closed: Callable[[], None] = lambda: None,
        queue_windows: int = 64,
    ) -> None:
        self._stream = stream
        self._metrics = tuple(metrics)
        self._on_closed = on_closed
        self._queue_windows = queue_windows
        self._changed = threading.Condition()
        self._queue: deque[tuple[Window, Done]] = deque()
        self._closing = False
        self._is_open = True  # as far as the thread knows: somebody reads
        self._counts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="json", daemon=True)
        self._thread.start()

    def export(self, window: Window, done: Done) -> None:
        """Enqueue a window."""
        dropped = []
        with self._changed:
            if self._closing:
                return
            self._queue.append((window, done))
            while len(self._queue) > self._queue_windows:
                dropped.append(self._queue.popleft()[1])
            self._counts["dropped"] += len(dropped)
            self._changed.notify()
        for dropped_done in dropped:
            dropped_done(False)

    def export_internal(self, points: Sequence[InternalPoint], now_ns: int) -> None:
        """Do nothing: edges are what is written."""

    def close(self, timeout_seconds: float) -> None:
        """Write what waits, for at most this long; the rest is not answered."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_seconds)

    def metrics(self) -> list[InternalPoint]:
        """Return the counters of windows, and the queue's length."""
        exporter = ("exporter", "json")
        with self._changed:
            points = [
                InternalPoint(
                    "ebpf_net.export.windows", count, (exporter, ("result", result))
                )
                for result, count in sorted(self._counts.items())
                if count
            ]
            waiting = len(self._queue)
        return [
            *points,
            InternalPoint("ebpf_net.export.queue_windows", waiting, (exporter,)),
        ]

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                window, done = self._queue.popleft()
            try:
                is_written = self._is_open and self._write(window)
            except Exception:  # as of an edge whose node is not there
                _LOGGER.exception("a window cannot be rendered")
                is_written = False
            with self._changed:
                self._counts["success" if is_written else "failed"] += 1
            done(is_written)

    def _write(self, window: Window) -> bool:
        """Write a window; return False, once, when nobody reads any more."""
        for text in render_window(window, self._metrics):
            if not self._put(text.decode()):
                self._is_open = False
                self._on_closed()
                return False
        return True

    def _put(self, text: str) -> bool:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            # What is still in the stream's buffer would raise again at exit.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
            return False
        except (OSError, ValueError) as error:  # a full disk; a closed stream
            _LOGGER.warning("JSON lines end: %s", error)
            return False
        return True
