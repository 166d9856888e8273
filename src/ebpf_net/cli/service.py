"""The running reducer: batches in from the intake, windows out to the exporters.

A batch is committed, and may be forgotten by its collector, once every exporter has
taken the windows that it went into. The state that makes a restart exact is written
before that: what was exported is never counted again.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ebpf_net.cli.state_file import StateFile, StatePart
from ebpf_net.exporters.exporter import Exporter
from ebpf_net.intake.batch import BatchHeader, Receipt
from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.intake.ledger import Ledger, Verdict
from ebpf_net.intake.sink import Overloaded, SnapshotNeeded
from ebpf_net.reducer.pipeline import ClosedWindow, Reducer
from ebpf_net.schema import InternalPoint

_MAX_IN_FLIGHT = 64
"""Windows handed out and not yet taken; past it no window is closed, so that batches
wait in the collectors' spools and not here."""
_INTERNAL_EXPORT_SECONDS = 10.0
_POLL_SECONDS = 0.1
_CONNECTED_NS = 30 * 10**9
_FORGET_NS = 24 * 3600 * 10**9  # what a collector may be silent for
_FAR_NS = 24 * 3600 * 10**9

logger = logging.getLogger(__name__)


@dataclass
class _InFlight:
    """A window on its way: which exporters still have it, and what it settles."""

    closed: ClosedWindow
    state: StatePart | None  # after all windows of a round; None but for the last one
    waiting: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def taken(self, delivered: bool) -> None:  # noqa: ARG002 - exporters count losses
        """One exporter is done with the window, for better or worse."""
        with self.lock:
            self.waiting -= 1


class ReducerService:
    """Joins intake, reducer and exporters. Implements the intake's BatchSink.

    ``accept`` is called on the intake's threads; ``run`` owns the windows.
    """

    def __init__(
        self,
        reducer: Reducer,
        exporters: Sequence[Exporter],
        state_file: Path,
    ) -> None:
        self._reducer = reducer
        self._exporters = tuple(exporters)
        self._state_file = StateFile(state_file)
        self.more_metrics: Callable[[], list[InternalPoint]] = list
        self._ledger = Ledger()
        self._lock = threading.Lock()
        self._identity = uuid.uuid4().hex
        self._in_flight: deque[_InFlight] = deque()
        self._statuses: dict[str, BatchHeader] = {}  # of each collector's last batch
        self._restore()

    def accept(self, batch: DecodedBatch, received_ns: int, sent_ns: int) -> Receipt:
        """Count a batch once and answer what may be forgotten.

        Raises SnapshotNeeded and Overloaded as the intake's contract says.
        """
        header = batch.header
        with self._lock:
            if not self._reducer.has_room(batch):
                raise Overloaded  # before the ledger notes it as taken
            verdict = self._ledger.seen(header, received_ns)
            if verdict is Verdict.NEEDS_SNAPSHOT:
                raise SnapshotNeeded
            if verdict is Verdict.NEW:
                self._reducer.add(batch, received_ns, sent_ns)
                if header.collector not in self._statuses:
                    logger.info("collector %s on %s", header.collector, header.host)
                self._statuses[header.collector] = header
            return self._receipt(
                header.collector,
                header.incarnation,
                duplicate=verdict is Verdict.DUPLICATE,
            )

    def progress(self, collector: str, incarnation: str) -> Receipt:
        """Say how far an incarnation has been received and committed."""
        with self._lock:
            return self._receipt(collector, incarnation, duplicate=False)

    def run(self, stop: threading.Event) -> None:
        """Close windows when they are due until ``stop`` is set."""
        next_internal = 0.0
        while not stop.is_set():
            handed_out = self.advance(time.time_ns())
            if handed_out or time.monotonic() >= next_internal:
                next_internal = time.monotonic() + _INTERNAL_EXPORT_SECONDS
                self.export_internal(time.time_ns())
                self.forget_silent(time.time_ns())
            stop.wait(_POLL_SECONDS)

    def advance(self, now_ns: int) -> int:
        """Hand out the windows that are over and settle those that were taken.

        Returns how many were handed out.
        """
        self._settle()
        if len(self._in_flight) >= _MAX_IN_FLIGHT:
            return 0
        windows = self._reducer.close_windows(now_ns)
        state = self._state() if windows else None
        for closed in windows:
            self._hand_out(closed, state if closed is windows[-1] else None)
        self._settle()
        return len(windows)

    def metrics(self, now_ns: int) -> list[InternalPoint]:
        """Return all internal metrics: the reducer's, collectors' and exporters'."""
        points = [InternalPoint("ebpf_net.up", 1.0, (("module", "reducer"),))]
        reducer_points = self._reducer.metrics(now_ns)
        points.append(_connections(reducer_points))
        points += reducer_points
        points += self.more_metrics()
        for exporter in self._exporters:
            points += exporter.metrics()
        with self._lock:
            headers = list(self._statuses.values())
        for header in headers:
            points += _status_points(header)
        return points

    def export_internal(self, now_ns: int) -> None:
        """Hand the internal metrics to the exporters."""
        points = self.metrics(now_ns)
        for exporter in self._exporters:
            exporter.export_internal(points, now_ns)

    def forget_silent(self, now_ns: int) -> None:
        """Forget collectors that were not heard for a day."""
        with self._lock:
            self._ledger.expire(now_ns - _FORGET_NS)
            self._statuses = {
                collector: header
                for collector, header in self._statuses.items()
                if self._ledger.knows(collector, header.incarnation)
            }

    def close(self, timeout_seconds: float) -> None:
        """Close every window, whatever is missing, and let the exporters deliver.

        They have ``timeout_seconds`` together. What was delivered is on disk as soon as
        it is known, as whoever asked for the end may not wait for all of them.
        """
        deadline = time.monotonic() + timeout_seconds
        self.advance(time.time_ns() + _FAR_NS)
        self.export_internal(time.time_ns())
        for exporter in self._exporters:
            exporter.close(max(0.0, deadline - time.monotonic()))
            self._settle()

    def _receipt(self, collector: str, incarnation: str, *, duplicate: bool) -> Receipt:
        return Receipt(
            committed=self._ledger.committed(collector, incarnation),
            received=self._ledger.received(collector, incarnation),
            reducer=self._identity,
            time_ns=time.time_ns(),
            duplicate=duplicate,
        )

    def _state(self) -> StatePart:
        whole = self._state_file.asks_for_whole()
        return StatePart(self._reducer.state(whole=whole), whole)

    def _hand_out(self, closed: ClosedWindow, state: StatePart | None) -> None:
        item = _InFlight(closed, state, waiting=len(self._exporters))
        self._in_flight.append(item)
        for exporter in self._exporters:
            exporter.export(closed.window, item.taken)

    def _settle(self) -> None:
        """Commit, in order, what every exporter has taken, and note it on disk."""
        taken: list[_InFlight] = []
        while self._in_flight and self._in_flight[0].waiting <= 0:
            taken.append(self._in_flight.popleft())
        if not taken:
            return
        with self._lock:
            commits = [commit for item in taken for commit in item.closed.commits]
            for collector, incarnation, sequence in commits:
                self._ledger.export(collector, incarnation, sequence)
            watermarks = self._ledger.watermarks()
        states = [item.state for item in taken if item.state is not None]
        if states:
            self._state_file.write(watermarks, states)

    def _restore(self) -> None:
        try:
            restored = self._state_file.read()
            if restored is not None:
                self._reducer.restore(restored.state)
                self._ledger.restore(restored.watermarks, time.time_ns())
        except (ValueError, TypeError) as error:
            logger.warning(
                "%s is damaged and not used: %s", self._state_file.path, error
            )


def _connections(points: Sequence[InternalPoint]) -> InternalPoint:
    """Count the collectors that were heard lately."""
    heard = sum(
        point.value < _CONNECTED_NS
        for point in points
        if point.name == "ebpf_net.time_since_last_message_ns"
    )
    return InternalPoint("ebpf_net.connections", heard)


def _status_points(header: BatchHeader) -> Iterator[InternalPoint]:
    """Turn a collector's counters, such as ``lost.ring_full``, into metrics."""
    labels = (("collector", header.collector), ("host", header.host))
    for name, value in header.status.items():
        kind, _, rest = name.partition(".")
        if kind == "lost":
            yield InternalPoint(
                "ebpf_net.collector.lost", value, (*labels, ("reason", rest))
            )
        elif kind == "signal":
            signal, _, attach = rest.rpartition(".")
            yield InternalPoint(
                "ebpf_net.collector.signal",
                value,
                (*labels, ("signal", signal), ("attach", attach)),
            )
        elif kind == "cloud":
            yield InternalPoint(
                "ebpf_net.collector.cloud", value, (*labels, ("count", rest))
            )
        elif kind == "cloud_metadata":
            yield InternalPoint(
                "ebpf_net.collector.cloud_metadata", value, (*labels, ("result", rest))
            )
