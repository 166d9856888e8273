"""Ingest: batches into wall-clock windows by their collector's corrected time.

Batches wait as they came; nothing is copied before a window closes. Which window is
closed when, and what was late, is decided here and nowhere else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ebpf_net.intake.batch import BatchHeader
from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.reducer.circumstances import Circumstances, Moment
from ebpf_net.reducer.coverage import Coverage, Watcher, gap_ns
from ebpf_net.reducer.keys import text_key
from ebpf_net.reducer.sources import Source, restarted_sources, same_collectors

CLOCK_TOLERANCE_NS = 50_000_000
"""Offsets below this are the network's delay rather than a wrong clock."""

RECONNECT_NS = 15_000_000_000
"""How long windows wait, after a restart, for collectors that were there before it: as
long as collectors do at most before they try again."""

_CLOCK_SAMPLES = 16


@dataclass(frozen=True)
class Received:
    """A batch with the window it was put into."""

    batch: DecodedBatch
    window: int
    received_ns: int


@dataclass
class Clock:
    """A collector's clock against the reducer's: the least delay of recent batches."""

    delays_ns: deque[int] = field(default_factory=lambda: deque(maxlen=_CLOCK_SAMPLES))

    steps: int = 0

    def observe(self, delay_ns: int, steps: int) -> None:
        """Note a batch's delay; what was learned before the clock was set is void.

        ``steps`` is how often it had been set when the batch was made: one that was
        made before and sent after is dated by the clock that dated it.
        """
        if steps != self.steps:
            self.steps = steps
            self.delays_ns.clear()
        self.delays_ns.append(delay_ns)

    @property
    def delay_ns(self) -> int:
        """What to add to the collector's times to have the reducer's."""
        delay = min(self.delays_ns, default=0)
        return delay if abs(delay) >= CLOCK_TOLERANCE_NS else 0


@dataclass
class Collector:
    """What is known of one collector, over its restarts."""

    name: str
    host: str
    clock: Clock = field(default_factory=Clock)
    last_received_ns: int = 0
    gap_ns: int = 0  # how long it was away between its processes

    def hear(self, header: BatchHeader, received_ns: int, sent_ns: int) -> None:
        """Note a batch."""
        steps = header.status.get("clock.steps", self.clock.steps)
        self.clock.observe(received_ns - sent_ns, steps)
        self.last_received_ns = max(self.last_received_ns, received_ns)
        self.host = header.host


def _began_before(source: Source, number: int) -> bool:
    return source.first is not None and source.first < number


def source_key(header: BatchHeader) -> int:
    """Return the key of the collector's process that made a batch."""
    return text_key("source", header.collector, header.incarnation)


def last_ends(received: Iterable[Received]) -> dict[str, int]:
    """Return when the last of each collector's windows ended.

    A collector may have several in one of ours: short ones at its start and end, or of
    two incarnations. Only the last one tells what is open.
    """
    ends: dict[str, int] = {}
    for one in received:
        header = one.batch.header
        end_ns = ends.get(header.collector, 0)
        ends[header.collector] = max(end_ns, header.window_end_ns)
    return ends


@dataclass
class Pending:
    """A window that is not closed yet."""

    received: list[Received] = field(default_factory=list)
    complete: set[str] = field(default_factory=set)  # collectors with their last batch
    first_received_ns: int = 0


@dataclass(frozen=True)
class Timing:
    """Length of a window, how long to wait for what is late, and how long it counts.

    What is ahead by more than the horizon does not count either: it would never close.
    """

    window_ns: int = 10_000_000_000
    lateness_ns: int = 2_000_000_000
    horizon_ns: int = 3_600_000_000_000


@dataclass(frozen=True)
class Due:
    """A window to reduce now; ``late``: it has been reduced before."""

    number: int
    late: bool
    received: tuple[Received, ...]


class Windows:
    """Batches by window, until the window closes. Not thread-safe."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.collectors: dict[str, Collector] = {}
        self.reported: dict[int, set[str]] = {}  # which collectors had a batch
        self.finished: dict[int, set[int]] = {}  # which sources had their last batch
        self.coverage = Coverage()
        self.last_closed: int | None = None
        self._pending: dict[int, Pending] = {}
        self._late: dict[int, Pending] = {}
        self._awaited: set[str] = set()  # collectors not heard since the restart
        self._settled_ns = 0  # no window closes before

    def window_of(self, header: BatchHeader) -> int:
        """Return the number of the window that a batch belongs to."""
        delay = self.collectors[header.collector].clock.delay_ns
        length = self.timing.window_ns
        start, end = header.window_start_ns, header.window_end_ns
        if not self._is_whole(end - start):
            # A part goes where the whole goes: it ends on the same grid, or within.
            start = (end - 1) // length * length
            end = start + length
        return ((start + end) // 2 + delay) // length

    def start_ns(self, number: int) -> int:
        """Return when a window begins."""
        return number * self.timing.window_ns

    def hear(self, header: BatchHeader, received_ns: int, sent_ns: int) -> None:
        """Note that a collector has been heard."""
        collector = self.collectors.setdefault(
            header.collector, Collector(header.collector, header.host)
        )
        collector.hear(header, received_ns, sent_ns)
        if self._awaited:
            self._await(header.collector, received_ns)

    def put(self, batch: DecodedBatch, received_ns: int) -> str:
        """Put a batch into its window; return why that cannot be, or ""."""
        header = batch.header
        number = self.window_of(header)
        if received_ns - self.start_ns(number + 1) > self.timing.horizon_ns:
            return "too_old"
        if self.start_ns(number) - received_ns > self.timing.horizon_ns:
            return "too_new"
        late = self.last_closed is not None and number <= self.last_closed
        windows = self._late if late else self._pending
        pending = windows.setdefault(number, Pending(first_received_ns=received_ns))
        pending.received.append(Received(batch, number, received_ns))
        if header.last_of_window:
            if self._reaches_the_end(header, number):
                pending.complete.add(header.collector)
            self.finished.setdefault(number, set()).add(source_key(header))
        self.reported.setdefault(number, set()).add(header.collector)
        self.coverage.put(number, source_key(header), header)
        return ""

    def _reaches_the_end(self, header: BatchHeader, number: int) -> bool:
        """Tell whether a collector has no more windows that belong to this one."""
        delay = self.collectors[header.collector].clock.delay_ns
        slack = self.timing.window_ns // 100
        return header.window_end_ns + delay >= self.start_ns(number + 1) - slack

    def live_collectors(self, number: int) -> set[str]:
        """Return the collectors that reported for a window or the one before."""
        return self.reported.get(number, set()) | self.reported.get(number - 1, set())

    def whole_sources(
        self, number: int, sources: Mapping[int, Source]
    ) -> frozenset[int] | None:
        """Return the sources whose collector has reported all it had in a window.

        A collector that was started anew in that window does not know what its
        predecessor would have reported, unless that has done so itself. None: of a
        window that long ago it is not known any more.
        """
        finished = self.finished.get(number)
        if finished is None:
            is_old = number < min(self.finished, default=number)
            return None if is_old else frozenset()
        through = {
            sources[key].collector
            for key in finished
            if key in sources and _began_before(sources[key], number)
        }
        successors = {key for key, one in sources.items() if one.collector in through}
        return frozenset(finished | successors) - self.gapped_sources(number, sources)

    def gapped_sources(
        self, number: int, sources: Mapping[int, Source]
    ) -> frozenset[int]:
        """Return the sources whose collector was away for a part of a window."""
        by_name: dict[str, set[int]] = {}
        for key in self.coverage.spans.get(number, {}):
            if key in sources:
                by_name[sources[key].collector] = set()
        for key, source in sources.items():
            if source.collector in by_name:
                by_name[source.collector].add(key)
        gapped: frozenset[int] = frozenset()
        for name, keys in by_name.items():
            interval = max(sources[key].longest_ns for key in keys)
            watcher = self._watcher(number, name, interval, keys)
            if self.coverage.has_gap(number, watcher):
                gapped |= watcher.sources
        return gapped

    def circumstances(
        self, due: Due, held_number: int, sources: Mapping[int, Source]
    ) -> Circumstances:
        """Return what the matching of a window must know."""
        live = self.live_collectors(due.number)
        gapped = self.gapped_sources(due.number, sources)
        return Circumstances(
            due.number,
            Moment.LATE if due.late else Moment.ON_TIME,
            frozenset(key for key, one in sources.items() if one.collector in live),
            gapped,
            self.whole_sources(due.number, sources),
            held_number,
            self.whole_sources(held_number, sources),
            restarted_sources(gapped, sources),
            frozenset(self.coverage.spans.get(due.number, ())),
            same_collectors(self.coverage.crossed(due.number), sources),
        )

    def note_gap(self, key: int, number: int, sources: Mapping[int, Source]) -> None:
        """Note how long a collector was away before this process of it began."""
        name = sources[key].collector
        span = self.coverage.spans.get(number, {}).get(key)
        if span and name in self.collectors:
            ends = [
                one.end_ns
                for other, one in sources.items()
                if other != key and one.collector == name and one.end_ns
            ]
            self.collectors[name].gap_ns += gap_ns(span, ends)

    def next_close_ns(self) -> int | None:
        """Return when the next window can be closed; it may be in the past."""
        times = [self._late_close_ns(pending) for pending in self._late.values()]
        if self._pending:
            number = min(self._pending)
            times.append(self._close_ns(number, self._pending[number]))
        return min(times, default=None)

    def due(self, now_ns: int) -> list[Due]:
        """Take the windows out that are to be closed now, in their order."""
        result = []
        for number in sorted(self._late):
            if self._late_close_ns(self._late[number]) <= now_ns:
                received = tuple(self._late.pop(number).received)
                result.append(Due(number, late=True, received=received))
        while self._pending:
            number = min(self._pending)
            if self._close_ns(number, self._pending[number]) > now_ns:
                break
            received = tuple(self._pending.pop(number).received)
            result.append(Due(number, late=False, received=received))
            self.last_closed = number
        return result

    def to_json(self) -> dict[str, object]:
        """Return what a restart needs of the windows that have been closed."""
        return {
            "last_closed": self.last_closed,
            "reported": [
                [number, sorted(names)]
                for number, names in self.reported.items()
                if self.last_closed is not None and number <= self.last_closed
            ],
            "finished": [
                [number, sorted(keys)]
                for number, keys in self.finished.items()
                if self.last_closed is not None and number <= self.last_closed
            ],
            "coverage": self.coverage.to_json(
                -1 if self.last_closed is None else self.last_closed
            ),
            "collectors": [
                {**vars(one), "clock": list(one.clock.delays_ns)}
                for one in self.collectors.values()
            ],
        }

    def from_json(self, value: Mapping[str, Any]) -> None:
        """Take what to_json returned."""
        self.last_closed = value["last_closed"]
        self.reported = {number: set(names) for number, names in value["reported"]}
        self.finished = {
            number: set(keys) for number, keys in value.get("finished", ())
        }
        self.coverage.from_json(value.get("coverage", ()))
        for one in value["collectors"]:
            clock = Clock(deque(one["clock"], maxlen=_CLOCK_SAMPLES))
            self.collectors[one["name"]] = Collector(**{**one, "clock": clock})
        if self.last_closed is not None:
            self._awaited = self.live_collectors(self.last_closed)

    def forget(self, number: int, kept: set[str]) -> None:
        """Forget windows before this one, and all collectors but those kept."""
        for name in [name for name in self.collectors if name not in kept]:
            del self.collectors[name]
        for windows in (self.reported, self.finished):
            for old in [old for old in windows if old < number]:
                del windows[old]
        self.coverage.forget(number)

    def _watcher(
        self, number: int, name: str, interval_ns: int, keys: Iterable[int]
    ) -> Watcher:
        collector = self.collectors.get(name)
        delay_ns = collector.clock.delay_ns if collector else 0
        return Watcher(
            self.start_ns(number) - delay_ns,
            self.start_ns(number + 1) - delay_ns,
            interval_ns or self.timing.window_ns,
            frozenset(keys),
        )

    def _await(self, name: str, now_ns: int) -> None:
        """Note that a collector is heard while those of before a restart are awaited.

        They come back one after the other. A window that closed meanwhile would lack
        what the others tell: who is at the other end, and what counts.
        """
        if not self._settled_ns:
            self._settled_ns = now_ns + RECONNECT_NS
        self._awaited.discard(name)
        if now_ns >= self._settled_ns:
            self._awaited.clear()
        elif not self._awaited:
            self._settled_ns = min(self._settled_ns, now_ns + self.timing.lateness_ns)

    def _is_whole(self, length_ns: int) -> bool:
        return abs(length_ns - self.timing.window_ns) <= self.timing.window_ns // 100

    def _close_ns(self, number: int, pending: Pending) -> int:
        before = self.reported.get(number - 1)
        if before and before <= pending.complete and not self._awaited:
            return self.start_ns(number + 1)
        return max(self._settled_ns, self._regular_close_ns(number, pending))

    def _regular_close_ns(self, number: int, pending: Pending) -> int:
        regular = self.start_ns(number + 1) + self.timing.lateness_ns
        if pending.first_received_ns > regular:
            # After an outage all collectors send at about the same time, not in order.
            return pending.first_received_ns + self.timing.lateness_ns
        return regular

    def _late_close_ns(self, pending: Pending) -> int:
        return pending.first_received_ns + self.timing.lateness_ns
