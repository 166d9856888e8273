"""A batch for each window of what changed in reference tables: a collector's loop.

Windows end when those of all collectors do; most have no more to tell than that. The
first one is short, and a sender begins with a snapshot.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ebpf_net.collectors.batches import BatchMaker
from ebpf_net.collectors.clock import Clock
from ebpf_net.collectors.free_memory import return_free_memory
from ebpf_net.collectors.pauses import Pauses
from ebpf_net.collectors.row_table import Table
from ebpf_net.collectors.table_parts import split_tables
from ebpf_net.intake.batch import Batch

_SECOND_NS = 1_000_000_000
_FIRST_WINDOW_NS = _SECOND_NS // 2
_FLUSH_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 0.5

logger = logging.getLogger(__name__)


class RowSource(Protocol):
    """Where rows come from. Called by the loop and by the sender's thread."""

    def settle(self) -> None:
        """Wait a little at a window's end for what belongs to it."""
        ...

    def changes(self) -> Mapping[str, Table]:
        """Return what changed since the last call."""
        ...

    def snapshot(self) -> Mapping[str, Table]:
        """Return all rows, with those that ended a short while ago."""
        ...

    def tell_again(self, parts: Iterable[Mapping[str, Table]]) -> None:
        """Take these rows as changed, because a snapshot had no room for them."""
        ...

    def restate(self) -> None:
        """Take all rows as changed."""
        ...

    def forget_changes(self) -> None:
        """Take all there is as told, because a snapshot will tell it."""
        ...


class Sender(Protocol):
    """Where batches go; an IntakeClient."""

    def submit(self, batch: Batch) -> None:
        """Take a window's batch."""
        ...

    def status(self) -> dict[str, int]:
        """Return counters for the status of the next batch."""
        ...

    def close(self, timeout: float) -> bool:
        """Hand over what is left."""
        ...


Connect = Callable[[Callable[[], Batch]], Sender]
"""Makes a sender, which calls for a snapshot whenever the reducer wants one."""


@dataclass(frozen=True)
class WindowOptions:
    """Who tells, and how often; ``host`` is for people."""

    host: str
    interval_seconds: float = 10.0
    restated_windows: int = 0
    """All rows are told anew after so many windows; 0: never."""


class ReferenceWindows:
    """Tells a source's rows. ``status`` returns the counters that go with each batch.

    ``tell`` occupies its thread; ``sender_status`` may be called by any.
    """

    def __init__(
        self,
        source: RowSource,
        options: WindowOptions,
        clock: Clock,
        connect: Connect,
        status: Callable[[], Mapping[str, int]],
    ) -> None:
        self._source = source
        self._options = options
        self._interval_ns = int(options.interval_seconds * _SECOND_NS)
        self._clock = clock
        self._connect = connect
        self._status = status
        self._told_lock = threading.Lock()
        self._told_windows = 0
        self._sender: Sender | None = None

    def sender_status(self) -> dict[str, int]:
        """Return the sender's counters; none where nothing is told now."""
        sender = self._sender  # another thread may end it meanwhile
        return sender.status() if sender is not None else {}

    def tell(
        self, collector: str, pauses: Pauses, goes_on: Callable[[], bool] = lambda: True
    ) -> None:
        """Tell windows until a stop, or until it may not go on.

        ``collector`` tells it from all others and is the same at each start.
        """
        start_ns = self._clock.wall_ns()
        batches = BatchMaker(collector, self._options.host, start_ns, self._status)
        self._source.forget_changes()  # the sender begins with a snapshot
        sender = self._connect(lambda: self._snapshot(batches))
        self._sender = sender
        try:
            telling = _Telling(batches, sender, pauses, goes_on)
            end_ns = min(start_ns + _FIRST_WINDOW_NS, self._boundary_after(start_ns))
            while telling.lasts():
                start_ns, end_ns = self._tell_window(telling, start_ns, end_ns)
            if goes_on():
                self._tell(telling, start_ns, self._clock.wall_ns())
        finally:
            self._sender = None
            # What another one tells meanwhile must not be followed by what is older.
            taken = sender.close(_FLUSH_SECONDS if goes_on() else 0.0)
            if not taken:
                logger.warning("the reducer has not taken all; the rest waits on disk")

    def _snapshot(self, batches: BatchMaker) -> Batch:
        # Also asked for now and then for the copy on disk: of tables that are larger
        # than one part, the copy has the first, and the rest is told again though
        # nobody lacks it. The next restatement tells all to whoever does.
        with self._told_lock:
            parts = list(split_tables(self._source.snapshot()))
            first, rest = parts[0] if parts else {}, parts[1:]
            self._source.tell_again(rest)  # with the next window
            return batches.snapshot(first)

    def _tell_window(
        self, telling: _Telling, start_ns: int, end_ns: int
    ) -> tuple[int, int]:
        """Wait for a window's end and tell it; return the next window's times."""
        while telling.lasts():
            now_ns = self._clock.wall_ns()
            if end_ns - now_ns > self._interval_ns:  # the clock was set back
                return now_ns, self._boundary_after(now_ns)
            if now_ns >= end_ns:
                self._source.settle()
                self._tell(telling, start_ns, end_ns)
                return end_ns, self._boundary_after(max(end_ns, now_ns))
            left = (end_ns - now_ns) / _SECOND_NS
            telling.pauses.pause(min(left, LONGEST_PAUSE_SECONDS))
        return start_ns, end_ns

    def _tell(self, telling: _Telling, start_ns: int, end_ns: int) -> None:
        every = self._options.restated_windows
        with self._told_lock:  # else a snapshot could say that it has what it lacks
            self._told_windows += 1
            if every and self._told_windows % every == 0:
                self._source.restate()
            parts = list(split_tables(self._source.changes())) or [{}]
            made = list(telling.batches.window(parts, start_ns, max(start_ns, end_ns)))
        for batch in made:
            telling.sender.submit(batch)
        return_free_memory()

    def _boundary_after(self, time_ns: int) -> int:
        return (time_ns // self._interval_ns + 1) * self._interval_ns


@dataclass(frozen=True)
class _Telling:
    """What one stretch of windows is told with."""

    batches: BatchMaker
    sender: Sender
    pauses: Pauses
    goes_on: Callable[[], bool]

    def lasts(self) -> bool:
        return not self.pauses.stopped.is_set() and self.goes_on()
