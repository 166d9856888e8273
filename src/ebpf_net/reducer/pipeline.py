"""The reducer: batches in, windows out. Joins the stages and holds their state."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ebpf_net.intake.batch import BatchKind
from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.intake.sink import Overloaded
from ebpf_net.reducer.aggregation import Partial, partial
from ebpf_net.reducer.circumstances import Circumstances, Moment
from ebpf_net.reducer.claims import Span
from ebpf_net.reducer.costs import Tolls
from ebpf_net.reducer.counters import Counters, collector_points, overflow_points
from ebpf_net.reducer.ends import Circle, Detail
from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.enrichment import locate
from ebpf_net.reducer.handovers import Handovers
from ebpf_net.reducer.ingest import (
    Due,
    Received,
    Timing,
    Windows,
    source_key,
)
from ebpf_net.reducer.keys import Bool
from ebpf_net.reducer.known import Names
from ebpf_net.reducer.levels import Limits, final
from ebpf_net.reducer.matching import Matched, count_gaps, match
from ebpf_net.reducer.memory import RECENT_WINDOWS, Memory
from ebpf_net.reducer.options import (
    ClosedWindow,
    Commit,
    ReducerOptions,
    commit_of,
    edge_count,
)
from ebpf_net.reducer.overflow import Overflow, alone, split_overflow
from ebpf_net.reducer.pairing import Told
from ebpf_net.reducer.preparation import (
    Watchers,
    collect_rows,
    keep_clusters_apart,
    translate_rows,
)
from ebpf_net.reducer.reference import Change, References
from ebpf_net.reducer.rows import Rows, concat_rows, conform_rows, no_rows
from ebpf_net.reducer.sources import Source, first_processes, superseded_sources
from ebpf_net.reducer.state import State, StateWriter, read_state
from ebpf_net.reducer.watched import Watched
from ebpf_net.schema import REFERENCE_KEYS, InternalPoint, Window

__all__ = ["ClosedWindow", "Reducer", "ReducerOptions"]


class Reducer:
    """Reduces batches to windows. ``add`` may be called from any thread."""

    def __init__(self, options: ReducerOptions | None = None) -> None:
        self.options = options or ReducerOptions()
        told = self.options
        self._engine = Engine(told.threads, told.memory_limit, told.spill_directory)
        timing = Timing(told.window_ns, told.lateness_ns, told.horizon_ns)
        self._windows = Windows(timing)
        self._references = References()
        self.names = Names()
        self.tolls = Tolls()
        self._watched = Watched()
        self._memory = Memory(self.options.max_keys)
        self._held: tuple[int, Rows] = (0, no_rows())
        self._overflow = Overflow()
        self._handovers = Handovers()
        self._sources: dict[int, Source] = {}
        self._changes: list[Change] = []
        self._loose_commits: list[Commit] = []
        self._waiting_rows = 0
        self._limits = Limits(self.options.max_nodes, self.options.max_edges)
        self._counters = Counters()
        self._arrivals = threading.Lock()  # what add() touches
        self._state_writer = StateWriter()
        self._closing = threading.Lock()  # one close_windows at a time

    def has_room(self, batch: DecodedBatch) -> bool:
        """Return whether ``add`` would take a batch rather than raise Overloaded."""
        with self._arrivals:
            return self._fits(edge_count(batch))

    def _fits(self, rows: int) -> bool:
        return not rows or self._waiting_rows + rows <= self.options.max_rows

    def add(self, batch: DecodedBatch, received_ns: int, sent_ns: int) -> None:
        """Take a batch; cheap. Raises Overloaded when too many rows wait."""
        header, tables = batch.header, batch.tables
        source = source_key(header)
        count = edge_count(batch)
        with self._arrivals:
            if not self._fits(count):
                raise Overloaded
            self._windows.hear(header, received_ns, sent_ns)
            now = received_ns // self.options.window_ns
            self._sources.setdefault(source, Source(header.collector, last=now))
            is_snapshot = header.kind is BatchKind.SNAPSHOT
            reference = {
                name: tables[name] for name in REFERENCE_KEYS if name in tables
            }
            if reference or is_snapshot:
                self._changes.append(Change(source, reference, is_snapshot))
            if is_snapshot:
                return
            refusal = self._windows.put(batch, received_ns)
            if refusal:
                self._counters.late[refusal] += count
                self._loose_commits.append(commit_of(batch))
            else:
                self._sources[source].measure(header)
                self._waiting_rows += count

    def next_close_ns(self) -> int | None:
        """Return when close_windows next has something to do; None: not known yet."""
        with self._arrivals:
            times = [self._windows.next_close_ns()]
            if len(self._held[1]):
                held_until = self._windows.start_ns(self._held[0] + 2)
                times.append(held_until + self.options.lateness_ns)
        return min((when for when in times if when is not None), default=None)

    def close_windows(self, now_ns: int) -> list[ClosedWindow]:
        """Reduce the windows that are over."""
        with self._closing:
            with self._arrivals:
                due = self._windows.due(now_ns)
                changes, self._changes = self._changes, []
                loose, self._loose_commits = self._loose_commits, []
                newest = self._windows.last_closed or 0
            self._references.apply(changes, newest)
            closed: list[ClosedWindow] = []
            for window in due:
                closed += self._reduce_window(window)
            closed += self._release_held(now_ns)
            if due:
                self._forget(newest)
            if loose:
                closed = self._attach(closed, loose)
            self._counters.edges = len(self._memory)
            return closed

    def metrics(self, now_ns: int) -> list[InternalPoint]:
        """Return the reducer's own metrics."""
        with self._arrivals:
            points = collector_points(self._windows.collectors.values(), now_ns)
        return points + self._counters.points() + overflow_points(self._overflow.counts)

    def state(self, *, whole: bool = True) -> bytes:
        """Return what a restart needs, as of the windows that have been closed.

        To be stored together with the commits of those windows. ``whole=False``: only
        what has changed, to be stored behind what was returned before.
        """
        with self._closing, self._arrivals:
            values = {
                "window_ns": self.options.window_ns,
                "held": self._held[0],
                "windows": self._windows.to_json(),
                "late": self._counters.late,
                "gap_rows": self._counters.gap_rows,
                "handover_rows": self._counters.handover_rows,
                "handovers": self._handovers.to_json(),
                "overflow": self._overflow.to_json(),
                "sources": [
                    [key, *vars(one).values()]
                    for key, one in self._sources.items()
                    if one.first is not None
                ],
            }
            state = State(
                values,
                self._references.tables,
                self._held[1],
                self._memory,
                self._watched,
            )
            return self._state_writer.write(state, whole=whole)

    def restore(self, data: bytes) -> None:
        """Take what state() returned, before the first batch.

        Raises ValueError if it is not that, or was made with other windows.
        """
        state = read_state(data, self.options.max_keys)
        values: Any = state.values
        if values["window_ns"] != self.options.window_ns:
            raise ValueError(f"state is of windows of {values['window_ns']} ns")
        with self._closing, self._arrivals:
            self._state_writer = StateWriter()
            self._references.restore(state.tables)
            self._memory = state.memory
            self._watched = state.watched
            self._counters.edges = len(self._memory)
            self._held = (values["held"], conform_rows(state.held))
            self._windows.from_json(values["windows"])
            self._counters.late |= values["late"]
            self._counters.gap_rows |= values.get("gap_rows", {})
            self._counters.handover_rows = values.get("handover_rows", 0)
            self._handovers.from_json(values.get("handovers", {}))
            self._overflow.from_json(values.get("overflow", {}))
            self._sources = {key: Source(*fields) for key, *fields in values["sources"]}

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    # -- one window ---------------------------------------------------------------

    def _reduce_window(self, due: Due) -> list[ClosedWindow]:
        with self._counters.stage("ingest"):
            self._hear(due.received)
            rows = collect_rows(due.received, self._references.boots())
            with self._arrivals:
                circumstances = self._windows.circumstances(
                    due, self._held[0], self._sources
                )
        count = len(rows)
        rows, held = self._prepare(rows, circumstances)
        commits = tuple(commit_of(received.batch) for received in due.received)
        closed: list[ClosedWindow] = []
        if due.late:
            _, crowded = split_overflow(rows)
            self._overflow.release_late(crowded)
            no = np.zeros(len(rows), np.bool_)
            matched, _ = self._match(rows, no, circumstances)
            self._counters.count_late(~matched.superseded)
            parts = [self._partial(rows, matched, ~matched.superseded, due.number)]
        else:
            parts = self._reduce_on_time(rows, held, circumstances, closed)
        closed.append(ClosedWindow(self._window(due.number, parts), commits))
        with self._arrivals:
            self._waiting_rows -= count
        return closed

    def _reduce_on_time(
        self, rows: Rows, held: Rows, now: Circumstances, closed: list[ClosedWindow]
    ) -> list[Partial]:
        """Match rows with those held of the window before; close what is left of it."""
        held_number, _ = self._held
        rows, crowded = split_overflow(rows)
        held, crowded_before = split_overflow(held)
        was_held = np.zeros(len(rows) + len(held), np.bool_)
        was_held[len(rows) :] = True
        everything = concat_rows([part for part in (rows, held) if len(part)])
        matched, told = self._match(everything, was_held, now)
        matching = (everything, matched, was_held)
        crowded_before, crowded = self._overflow.settle(
            crowded_before, crowded, matching
        )
        crowded_before, postponed = self._overflow.postpone(crowded_before, matching)
        released = was_held & matched.volume
        if released.any():
            closed.append(self._release(held_number, everything.take(released)))
        self._counters.handover_rows += self._handovers.count(told, self._memory, now)
        if len(crowded_before):
            closed.append(self._release_crowded(held_number, crowded_before))
        waiting = matched.held & ~was_held
        parts = [everything.take(waiting), crowded, postponed]
        parts = [part for part in parts if len(part)]
        self._hold(now.number, concat_rows(parts))
        kept = ~released & ~waiting
        return [self._partial(everything, matched, kept, now.number)]

    def _hear(self, received: tuple[Received, ...]) -> None:
        """Note that sources have told of a window."""
        for one in received:
            source = source_key(one.batch.header)
            if self._sources[source].first is None:
                with self._arrivals:
                    self._windows.note_gap(source, one.window, self._sources)
            self._sources[source].hear(one.window)

    def _prepare(self, rows: Rows, now: Circumstances) -> tuple[Rows, Rows]:
        """Return the rows, and those that wait for them, with their true ends."""
        held = no_rows() if now.moment is Moment.LATE else self._held[1]
        with self._counters.stage("matching"):
            known = self.names.known(self._engine, self._references.tables)
            with self._arrivals:
                watchers = Watchers(self._watched, first_processes(self._sources))
            both = translate_rows(rows, held, known, watchers, now)
        self._counters.unresolved_rows += sum(one.unresolved for one in both)
        return both[0].rows, both[1].rows

    def _match(
        self, rows: Rows, was_held: Bool, now: Circumstances
    ) -> tuple[Matched, Told]:
        with self._counters.stage("matching"):
            known = self.names.known(self._engine, self._references.tables)
            rows = keep_clusters_apart(rows, known, self._memory, now)
            matched, learned, told = match(rows, was_held, self._memory, now)
            self._memory.learn(now.number, learned)
            covered, lost = count_gaps(rows, matched, now)
        self._counters.gap_rows["covered"] += covered
        self._counters.gap_rows["lost"] += lost
        return matched, told

    def _partial(
        self, rows: Rows, matched: Matched, kept: Bool, number: int
    ) -> Partial:
        if not kept.all():
            rows, matched = rows.take(kept), matched.take(kept)
        with self._counters.stage("enrichment"):
            located = locate(rows, matched, self._circle(number))
        with self._counters.stage("aggregation"):
            return partial(
                *(self._engine, rows, located, matched.volume, matched.peer_reports),
                self.tolls if self.options.zones else None,
            )

    def _circle(self, number: int) -> Circle:
        options = self.options
        has_ids = "id" in "".join(options.levels)
        return Circle(
            self.names,
            self.names.known(self._engine, self._references.tables),
            Detail(has_ids, options.node_ip, options.system_ip),
            Span(self._windows.start_ns(number), self._windows.start_ns(number + 1)),
        )

    def _window(self, number: int, parts: list[Partial]) -> Window:
        with self._counters.stage("aggregation"):
            levels = final(self._engine, parts, self.options.levels, self._limits)
        self._counters.windows += 1
        start = self._windows.start_ns(number)
        return Window(start, start + self.options.window_ns, levels)

    # -- rows that wait for their client ------------------------------------------

    def _hold(self, number: int, rows: Rows) -> None:
        with self._arrivals:
            self._held = (number, rows)

    def _release(self, number: int, rows: Rows) -> ClosedWindow:
        """Make a window of rows whose client did not come; the server stands in."""
        now = Circumstances(number, Moment.RELEASED)
        matched, _ = self._match(rows, np.zeros(len(rows), np.bool_), now)
        kept = np.ones(len(rows), np.bool_)
        window = self._window(number, [self._partial(rows, matched, kept, number)])
        return ClosedWindow(window, ())

    def _release_crowded(self, number: int, rows: Rows) -> ClosedWindow:
        """Make a window of what no other end has told of overflow edges."""
        self._overflow.release(rows)
        every = np.ones(len(rows), np.bool_)
        part = self._partial(rows, alone(rows), every, number)
        return ClosedWindow(self._window(number, [part]), ())

    def _release_held(self, now_ns: int) -> list[ClosedWindow]:
        """Let held rows go when the window after theirs had no batch at all."""
        number, rows = self._held
        until = self._windows.start_ns(number + 2) + self.options.lateness_ns
        if not len(rows) or now_ns < until:
            return []
        self._hold(0, no_rows())
        rows, crowded = split_overflow(rows)
        closed = []
        if len(rows):
            every = np.ones(len(rows), np.bool_)
            told = rows, alone(rows), every
            crowded, _ = self._overflow.settle(crowded, no_rows(), told)
            closed.append(self._release(number, rows))
        if len(crowded):
            closed.append(self._release_crowded(number, crowded))
        return closed

    # -- the end of a round --------------------------------------------------------

    def _forget(self, newest: int) -> None:
        oldest = newest - self.options.horizon_ns // self.options.window_ns - 1
        self._memory.forget(newest, oldest)
        with self._arrivals:
            gone = frozenset(
                key for key, source in self._sources.items() if source.last < oldest
            )
            for key in gone:
                del self._sources[key]
            replaced = superseded_sources(self._sources)
            kept = {source.collector for source in self._sources.values()}
            self._windows.forget(newest - RECENT_WINDOWS - 1, kept)
        self._references.end(replaced, newest)
        self._references.forget(newest, gone)

    def _attach(
        self, closed: list[ClosedWindow], commits: list[Commit]
    ) -> list[ClosedWindow]:
        if not closed:
            with self._arrivals:
                self._loose_commits = commits + self._loose_commits
            return closed
        last = closed[-1]
        closed[-1] = ClosedWindow(last.window, last.commits + tuple(commits))
        return closed
