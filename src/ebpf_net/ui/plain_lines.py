"""Windows as lines of text: for files, grep and awk.

Numbers come first, each in its own column; the names, which may hold blanks, are last.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

import numpy as np

from ebpf_net.schema import InternalPoint, Protocol, Window
from ebpf_net.ui.directions import Directions
from ebpf_net.ui.pairs import Int64, Pairs
from ebpf_net.ui.snapshot import Snapshot, take_snapshot
from ebpf_net.ui.text_columns import choose, from_integers, join, take, values

_COLUMNS: tuple[tuple[str, int, Callable[[Pairs], Int64]], ...] = (
    ("bytes_out", 14, lambda pairs: pairs.bytes_out),
    ("bytes_in", 14, lambda pairs: pairs.bytes_in),
    ("packets_out", 11, lambda pairs: pairs.packets_out),
    ("packets_in", 11, lambda pairs: pairs.packets_in),
    ("rtt_us", 8, lambda pairs: np.rint(pairs.rtt_us).astype(np.int64)),
    ("rtt_min_us", 10, lambda pairs: pairs.rtt_min_us),
    ("retrans", 7, lambda pairs: pairs.retransmits),
    ("new", 7, lambda pairs: pairs.opened),
    ("active", 7, lambda pairs: pairs.open),
    ("failed", 6, lambda pairs: pairs.failures),
)
_MAX_WINDOWS = 16

Done = Callable[[bool], None]
HEADER = (
    f"#{'end':<19} {'secs':>5} {'prot':<4} "
    + " ".join(f"{name:>{width}}" for name, width, _ in _COLUMNS)
    + " who -> whom"
)

logger = logging.getLogger(__name__)


def format_lines(snapshot: Snapshot) -> str:
    """Return one line for each pair, most bytes first; values are of the window."""
    pairs = snapshot.pairs.take(snapshot.select("bytes", ""))
    if not len(pairs):
        return ""
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(snapshot.end_ns // 10**9))
    names = snapshot.names.full()
    lines = join(
        f"{end} {snapshot.seconds:>5g}",
        choose(pairs.protocol == Protocol.TCP, "tcp ", "udp "),
        *(from_integers(read(pairs), width) for _, width, read in _COLUMNS),
        take(names, pairs.left),
        "->",
        take(names, pairs.right),
        separator=" ",
    )
    return "\n".join(values(lines)) + "\n"


class PlainLines:
    """Takes windows as an exporter does and writes their lines on a thread of its own.

    ``on_quit`` is called on that thread when nobody reads the output any more. Windows
    that a slow reader leaves no room for are given up and counted.
    """

    def __init__(
        self, on_quit: Callable[[], None], output: TextIO | None = None
    ) -> None:
        self._on_quit = on_quit
        self._output = output or sys.stdout
        if isinstance(self._output, TextIOWrapper):
            # A name that the locale cannot write must not end the output.
            self._output.reconfigure(errors="backslashreplace")
        self._directions = Directions()
        self._is_open = True  # as far as the thread knows: somebody reads
        self._queue: queue.Queue[tuple[Window, Done] | None] = queue.Queue(_MAX_WINDOWS)
        self._counts = {"success": 0, "failed": 0, "dropped": 0}
        self._thread = threading.Thread(
            target=self._run, name="plain-lines", daemon=True
        )

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def export(self, window: Window, done: Done) -> None:
        """Queue a window."""
        try:
            self._queue.put_nowait((window, done))
        except queue.Full:
            self._finish(done, "dropped")

    def export_internal(self, points: Sequence[InternalPoint], now_ns: int) -> None:
        """Take the internal metrics, which have no line."""

    def close(self, timeout_seconds: float) -> None:
        """Write what waits, for at most this long."""
        if not self._thread.is_alive():
            return
        end = time.monotonic() + timeout_seconds
        try:
            self._queue.put(None, timeout=timeout_seconds)
        except queue.Full:
            return
        self._thread.join(max(end - time.monotonic(), 0))

    def metrics(self) -> list[InternalPoint]:
        """Return how many windows were written, and how many had no room."""
        return [
            InternalPoint(
                "ebpf_net.export.windows",
                float(count),
                (("exporter", "plain"), ("result", result)),
            )
            for result, count in self._counts.items()
        ]

    def _finish(self, done: Done, result: str) -> None:
        self._counts[result] += 1
        done(result == "success")

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            window, done = item
            try:
                is_written = self._is_open and self._write(window)
            except Exception:  # as of an edge whose node is not there
                logger.exception("a window cannot be written as lines")
                is_written = False
            self._finish(done, "success" if is_written else "failed")

    def _write(self, window: Window) -> bool:
        """Write a window; False, and the end is near, if the output is closed."""
        lines = format_lines(take_snapshot([window], self._directions))
        if not self._counts["success"]:
            lines = HEADER + "\n" + lines
        try:
            self._output.write(lines)
            self._output.flush()
        except (OSError, ValueError) as error:  # ValueError: it was closed
            logger.info("plain lines end: %s", error)
            self._is_open = False
            _discard(self._output)
            self._on_quit()
            return False
        return True


def _discard(output: TextIO) -> None:
    """Lose what is in the stream's buffer: at exit it would fail once more."""
    with open(os.devnull, "wb") as nowhere, suppress(OSError, ValueError):
        os.dup2(nowhere.fileno(), output.fileno())
