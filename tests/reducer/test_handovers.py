"""Edges that pass from one end's authority to the other's, and how many are counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from ebpf_net.reducer.ingest import RECONNECT_NS
from ebpf_net.reducer.pipeline import ClosedWindow, Reducer
from ebpf_net.testing.tables import (
    START_NS,
    WINDOW_NS,
    Row,
    client_row,
    make_batch,
    make_header,
    server_row,
)

TICK_NS = WINDOW_NS // 100
LATENESS_NS = 2_000_000_000
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


@dataclass(frozen=True)
class Part:
    """From when to when one process of a host's collector tells, in ticks of 100 ms."""

    host: str
    process: int
    begin: int
    end: int


def send(reducer: Reducer, part: Part, rows: Sequence[Row]) -> None:
    """Add what a process has told of some time, as soon as that is over."""
    end_ns = START_NS + part.end * TICK_NS
    header = make_header(
        collector=part.host,
        incarnation=str(part.process),
        sequence=part.end + 1000,
        window_start_ns=START_NS + part.begin * TICK_NS,
        window_end_ns=end_ns,
    )
    tables = {"hosts": [{"host_id": part.host, "boot_id": part.host}]}
    reducer.add(make_batch(rows, tables=tables, header=header), end_ns, end_ns)


def close(reducer: Reducer, window: int, after_ns: int = 0) -> list[ClosedWindow]:
    end_ns = START_NS + (window + 1) * WINDOW_NS
    return reducer.close_windows(end_ns + LATENESS_NS + after_ns)


def total_bytes(closed: Iterable[ClosedWindow]) -> int:
    return sum(
        edge["bytes"]
        for one in closed
        for edge in one.window.levels["az_az"].edges.to_pylist()
    )


def handover_rows(reducer: Reducer) -> float:
    return next(
        point.value
        for point in reducer.metrics(0)
        if point.name == "ebpf_net.reducer.handover_rows"
    )


@dataclass(frozen=True)
class Window:
    """Bytes that each end tells of one window, None: it tells nothing at all.

    ``gap`` is whether the client's collector was restarted in it.
    """

    client: int | None
    server: int | None
    gap: bool = False


def reduce(windows: Sequence[Window], restart: bool = False) -> tuple[int, float]:
    """Return the bytes that are counted, and the handovers."""
    reducer, closed, process = Reducer(), [], 0
    for number, window in enumerate(windows):
        begin, end = number * 100, (number + 1) * 100
        if window.client is not None:
            row = client_row(CLIENT, SERVER, 80, bytes_sent=window.client, open=1)
            if window.gap:
                quiet = client_row(CLIENT, SERVER, 80, open=1)
                send(reducer, Part("a", process, begin, begin + 30), [quiet])
                process += 1
                send(reducer, Part("a", process, begin + 50, end), [row])
            else:
                send(reducer, Part("a", process, begin, end), [row])
        if window.server is not None:
            row = server_row(CLIENT, SERVER, 80, bytes_received=window.server, open=1)
            send(reducer, Part("b", 1, begin, end), [row])
        closed += close(reducer, number, RECONNECT_NS if restart else 0)
        if restart:
            state = reducer.state()
            reducer.close()
            reducer = Reducer()
            reducer.restore(state)
    closed += close(reducer, len(windows) + 1)
    counted = handover_rows(reducer)
    reducer.close()
    return total_bytes(closed), counted


STEADY = Window(10, 10)
QUIET = Window(0, 0)


@pytest.mark.parametrize("restart", [False, True])
def test_while_nobody_comes_or_goes_nothing_is_counted(restart):
    windows = [Window(10, 12), Window(12, 10), STEADY, QUIET, Window(0, 5), STEADY]
    assert reduce(windows, restart) == (10 + 12 + 10 + 10, 0)


@pytest.mark.parametrize("restart", [False, True])
def test_what_moves_on_as_the_client_dies_is_counted(restart):
    gone = Window(None, 10)
    # Three bytes are in the client's first windows, and in the server's next.
    windows = [STEADY, Window(13, 10), gone, gone, gone]
    assert reduce(windows, restart) == (10 + 13 + 30, 1)
    # Now they are in no row that counts.
    windows = [STEADY, Window(7, 10), gone, gone, gone]
    assert reduce(windows, restart) == (10 + 7 + 30, 1)


def test_what_only_the_server_saw_before_its_client_died_is_counted():
    windows = [STEADY, Window(0, 3), Window(None, None), QUIET]
    assert reduce(windows) == (10, 0)
    windows = [STEADY, Window(0, 3), Window(None, 0), Window(None, 0)]
    assert reduce(windows) == (10, 1)


def test_coming_back_is_counted_where_something_moves():
    gone = Window(None, 10)
    back = [Window(6, 10, gap=True), STEADY, STEADY]
    assert reduce([STEADY, QUIET, gone, gone, *back])[1] == 1
    assert reduce([STEADY, gone, gone, *back])[1] == 2


def test_a_restart_without_movement_at_the_ends_of_its_window_is_exact():
    windows = [STEADY, QUIET, Window(6, 10, gap=True), QUIET, STEADY]
    assert reduce(windows) == (30, 0)


@pytest.mark.parametrize("restart", [False, True])
def test_a_restart_while_data_flows_is_counted_when_it_begins_and_ends(restart):
    windows = [STEADY, STEADY, Window(6, 10, gap=True), STEADY, STEADY]
    assert reduce(windows, restart) == (50, 2)


def test_where_only_one_end_is_watched_there_is_no_handover():
    alone = [Window(10, None), Window(6, None, gap=True), Window(10, None)]
    assert reduce(alone) == (26, 0)
    alone = [Window(None, 10), Window(None, 10), Window(None, 10)]
    assert reduce(alone) == (30, 0)


def test_each_edge_of_the_client_is_counted():
    reducer = Reducer()
    for number in range(3):
        begin, end = number * 100, (number + 1) * 100
        for host, ends in (("a", client_row), ("b", server_row)):
            rows = [ends(CLIENT, SERVER, port, packets_sent=1) for port in range(9)]
            if host == "b" or number < 2:
                send(reducer, Part(host, 1, begin, end), rows)
            other = [ends("10.0.0.3", SERVER, 80, packets_sent=1)]
            send(reducer, Part("c" if host == "a" else "d", 1, begin, end), other)
        close(reducer, number)
    assert handover_rows(reducer) == 9
    reducer.close()


# -- what really happened against what is counted ----------------------------------

WINDOWS, SKEW = 6, 5


@dataclass(frozen=True)
class Moved:
    """Bytes that go over an edge, at once."""

    edge: int
    when: int
    size: int


@dataclass(frozen=True)
class Outage:
    """The client's collector is away; killed, it does not tell what it has not sent."""

    begin: int
    length: int
    killed: bool


moves = st.builds(
    Moved,
    st.integers(0, 1),
    st.one_of(
        st.integers(1, WINDOWS * 100 - 1),
        st.builds(
            lambda window, late: window * 100 + late,
            st.integers(1, WINDOWS - 1),
            st.integers(0, SKEW),
        ),
    ),
    st.integers(1, 1000),
)
outages = st.builds(Outage, st.integers(1, 590), st.integers(0, 250), st.booleans())
skews = st.lists(st.integers(0, SKEW), min_size=WINDOWS, max_size=WINDOWS)


def parts_of(host: str, gone: Sequence[Outage], interval: int) -> list[Part]:
    """Return the parts that a collector tells, in their order."""
    parts, begin, last = [], 0, WINDOWS * 100
    for process, outage in enumerate([*sorted(gone, key=lambda one: one.begin), None]):
        end = min(outage.begin, last) if outage else last
        while begin < end:
            boundary = (begin // interval + 1) * interval
            if boundary > end and outage and outage.killed:
                break
            parts.append(Part(host, process, begin, min(boundary, end)))
            begin = boundary
        if outage:
            begin = max(outage.begin + outage.length, min(begin, end))
    return parts


def rows_of(
    part: Part, moved: Sequence[Moved], skew: Sequence[int], open_all: bool
) -> list[Row]:
    """Return what a process finds: it reads a little after a window is over."""

    def read_at(tick: int) -> int:
        over = tick % 100 == 0 and 0 < tick < WINDOWS * 100
        return tick + (skew[tick // 100] if over else 0)

    begin, end = read_at(part.begin), read_at(part.end)
    rows = []
    for edge in (0, 1):
        size = sum(
            one.size for one in moved if one.edge == edge and begin < one.when <= end
        )
        if size or open_all:
            ends = CLIENT, SERVER, 80 + edge
            if part.host == "a":
                rows.append(client_row(*ends, bytes_sent=size, open=1))
            else:
                rows.append(server_row(*ends, bytes_received=size, open=1))
    return rows


@settings(deadline=None, max_examples=60)
@example(  # the server counts at once what it sees first, as it stood in lately
    [Moved(0, 182, 1), Moved(0, 404, 1)],
    [Outage(100, 118, killed=False)],
    ([0] * WINDOWS, [0, 0, 0, 0, 4, 0]),
    100,
    False,
    12,
)
@given(
    st.lists(moves, max_size=8),
    st.lists(outages, max_size=2),
    st.tuples(skews, skews),
    st.sampled_from([100, 20]),
    st.booleans(),
    st.integers(0, 2 * WINDOWS),
)
def test_no_difference_is_silent(moved, gone, skew, interval, open_all, restart):
    reducer, closed = Reducer(), []
    told = [*parts_of("a", gone, interval), *parts_of("b", [], interval)]
    for window in range(WINDOWS):
        if window == restart:
            state = reducer.state()
            reducer.close()
            reducer = Reducer()
            reducer.restore(state)
        for part in told:
            if (part.end - 1) // 100 == window:
                own = skew[part.host == "b"]
                send(reducer, part, rows_of(part, moved, own, open_all))
        closed += close(reducer, window)
    closed += close(reducer, WINDOWS + 1)
    counted = handover_rows(reducer)
    reducer.close()
    difference = total_bytes(closed) - sum(one.size for one in moved)
    event("counted" if counted else "exact")
    if counted == 0:
        assert difference == 0
    at_ends = sum(one.size for one in moved if one.when % 100 <= SKEW)
    assert abs(difference) <= at_ends
