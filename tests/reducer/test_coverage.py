"""Collectors that are restarted within a window, and what is known of it then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ebpf_net.reducer.coverage import Coverage, Span, Watcher, gap_ns
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

SECOND_NS = 1_000_000_000
TICK_NS = WINDOW_NS // 100
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


def has_gap(*told: tuple[int, int, int], interval: int = 10, number: int = 1) -> bool:
    """Whether a collector has a gap in window 1; (source, start, end) in seconds."""
    coverage = Coverage()
    for source, start, end in told:
        header = make_header(
            window_start_ns=start * SECOND_NS, window_end_ns=end * SECOND_NS
        )
        coverage.put((end - 1) // 10, source, header)
    restored = Coverage()
    restored.from_json(coverage.to_json(100))
    watcher = Watcher(
        number * WINDOW_NS,
        (number + 1) * WINDOW_NS,
        interval * SECOND_NS,
        frozenset({1, 2}),
    )
    assert restored.has_gap(number, watcher) == coverage.has_gap(number, watcher)
    return coverage.has_gap(number, watcher)


def test_a_window_told_from_its_start_to_its_end_has_no_gap():
    assert not has_gap((1, 10, 20))
    assert not has_gap((1, 0, 10), (1, 10, 14), (1, 14, 20))
    assert not has_gap(*((1, start, start + 2) for start in range(0, 20, 2)))


def test_a_process_that_begins_within_a_window_leaves_out_its_beginning():
    assert has_gap((2, 13, 20))
    assert has_gap((1, 0, 10), (2, 13, 20))


def test_a_process_that_ends_within_a_window_leaves_out_its_end():
    assert has_gap((1, 0, 10), (1, 10, 13))
    assert has_gap((1, 0, 10), (1, 10, 12), interval=2)
    assert not has_gap((1, 0, 10), (1, 10, 13), (1, 13, 20))


def test_the_time_between_two_processes_is_a_gap():
    assert has_gap((1, 0, 10), (1, 10, 13), (2, 15, 20))
    assert not has_gap((1, 0, 10), (1, 10, 13), (2, 13, 20))


def test_a_collector_whose_windows_end_at_other_times_has_no_gap():
    shifted = [(1, start, start + 3) for start in range(0, 21, 3)]
    assert not has_gap(*shifted, interval=3)


def test_other_collectors_do_not_fill_a_gap():
    assert has_gap((1, 0, 10), (1, 10, 13), (3, 13, 20))
    assert not has_gap((3, 13, 20))


def test_who_told_of_two_windows_was_there_as_they_parted():
    coverage = Coverage()
    for number, source in ((1, 1), (2, 1), (1, 2), (2, 3)):
        coverage.put(number, source, make_header(number))
    assert coverage.crossed(2) == {1}
    assert coverage.crossed(1) == coverage.crossed(3) == frozenset()


def test_forgotten_windows_are_not_known():
    coverage = Coverage()
    coverage.put(1, 1, make_header())
    coverage.forget(2)
    assert coverage.to_json(100) == []


@pytest.mark.parametrize(
    ("ends", "expected"), [([], 0), ([40], 60), ([40, 70], 30), ([70, 110], 0)]
)
def test_length_of_a_gap_is_from_the_last_end_to_the_start(ends, expected):
    assert gap_ns(Span(100, 200), ends) == expected


# -- in the reducer ---------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """From when to when one process of a collector tells, in ticks of 100 ms."""

    process: int
    begin: int
    end: int


def send(reducer: Reducer, host: str, told: Told, rows: Sequence[Row]) -> None:
    """Add what a process has told of some time, as soon as that is over."""
    start_ns = START_NS + told.begin * TICK_NS
    end_ns = START_NS + told.end * TICK_NS
    header = make_header(
        collector=host,
        incarnation=str(told.process),
        sequence=told.end + 1000,
        window_start_ns=start_ns,
        window_end_ns=end_ns,
    )
    tables = {
        "hosts": [{"host_id": host, "boot_id": f"boot-{host}", "zone": host}],
        "processes": [{"process_id": 1, "comm": host}],
    }
    rows = [{"process_id": 1, **row} for row in rows]
    batch = make_batch(rows, tables=tables, header=header)
    reducer.add(batch, end_ns, end_ns)


def close(reducer: Reducer, tick: int) -> list[ClosedWindow]:
    return reducer.close_windows(START_NS + tick * TICK_NS + 2 * SECOND_NS)


def totals(closed: Sequence[ClosedWindow], *names: str) -> Counter:
    found: Counter = Counter()
    for one in closed:
        for edge in one.window.levels["az_az"].edges.to_pylist():
            found.update({name: edge[name] for name in names})
    return +found


def internal(reducer: Reducer, name: str) -> dict[str, float]:
    return {
        dict(point.labels).get("result", dict(point.labels).get("collector", "")): (
            point.value
        )
        for point in reducer.metrics(0)
        if point.name == name and point.value
    }


def test_what_only_the_server_saw_between_two_processes_of_the_client_counts():
    reducer = Reducer()
    for window in range(4):
        begin, end = window * 100, (window + 1) * 100
        if window == 2:
            row = client_row(CLIENT, SERVER, 80, bytes_sent=3, opened=1)
            send(reducer, "a", Told(1, begin, begin + 30), [row])
            row = client_row(CLIENT, SERVER, 80, bytes_sent=5)
            send(reducer, "a", Told(2, begin + 50, end), [row])
        else:
            row = client_row(CLIENT, SERVER, 80, bytes_sent=10)
            send(reducer, "a", Told(1 + (window > 2), begin, end), [row])
        row = server_row(
            CLIENT, SERVER, 80, bytes_received=10, opened=2 * (window == 2)
        )
        send(reducer, "b", Told(1, begin, end), [row])
    assert totals(close(reducer, 400), "bytes", "opened") == {"bytes": 40, "opened": 4}
    assert internal(reducer, "ebpf_net.reducer.gap_rows") == {"covered": 2}
    assert internal(reducer, "ebpf_net.collector.gap_seconds") == {"a": 2}


def test_rows_of_a_gap_that_nobody_watched_are_counted_as_lost():
    reducer = Reducer()
    row = client_row(CLIENT, SERVER, 80, bytes_sent=10)
    send(reducer, "a", Told(1, 0, 100), [row])
    send(reducer, "a", Told(2, 150, 200), [row, client_row(CLIENT, SERVER, 81)])
    assert totals(close(reducer, 200), "bytes") == {"bytes": 20}
    assert internal(reducer, "ebpf_net.reducer.gap_rows") == {"lost": 2}
    assert internal(reducer, "ebpf_net.collector.gap_seconds") == {"a": 5}


def test_the_first_start_of_a_collector_is_no_loss():
    reducer = Reducer()
    row = client_row(CLIENT, SERVER, 80, bytes_sent=10)
    send(reducer, "a", Told(1, 50, 100), [row])
    assert totals(close(reducer, 100), "bytes") == {"bytes": 10}
    assert internal(reducer, "ebpf_net.reducer.gap_rows") == {}


def test_gap_of_another_host_with_the_same_addresses_changes_nothing():
    reducer = Reducer()
    ends = ("172.17.0.2", "172.17.0.3", 80)
    for host, size in (("a", 1), ("b", 100)):
        both = [
            client_row(*ends, bytes_sent=size),
            server_row(*ends, bytes_received=2 * size),
        ]
        send(reducer, host, Told(1, 0, 100), both)
        send(
            reducer, host, Told(1 + (host == "a"), 100 + 50 * (host == "a"), 200), both
        )
    found = totals(close(reducer, 200), "bytes")
    # Only where the client's own collector was away does its server decide; both ends
    # of that edge were away together.
    assert found == {"bytes": 1 + 100 + 2 + 100}


# -- what really happened against what is reported --------------------------------

HOSTS, WINDOWS = 3, 6


@dataclass(frozen=True)
class Connection:
    """A connection that sends ``size`` bytes each tick while it is open."""

    client: int
    server: int
    opened: int
    length: int
    size: int


@dataclass(frozen=True)
class Outage:
    """A collector is away; when it is killed, its unfinished window is lost, too."""

    begin: int
    length: int
    killed: bool


connections = st.builds(
    Connection,
    st.integers(0, HOSTS - 1),
    st.integers(0, HOSTS - 1),
    st.integers(5, 500),
    st.integers(0, 300),
    st.integers(1, 1000),
)
outages = st.builds(Outage, st.integers(101, 480), st.integers(0, 250), st.booleans())


def told_by(gone: Sequence[Outage], interval: int) -> list[Told]:
    """What the processes of a collector tell, in their order."""
    told, begin = [], 0
    for process, outage in enumerate([*sorted(gone, key=lambda one: one.begin), None]):
        end = min(outage.begin if outage else WINDOWS * 100, WINDOWS * 100)
        while begin < end:
            boundary = (begin // interval + 1) * interval
            if boundary > end and outage and outage.killed:
                break
            told.append(Told(process, begin, min(boundary, end)))
            begin = boundary
        if outage:
            begin = max(begin, outage.begin) if end < outage.begin else end
            begin = max(begin, outage.begin + outage.length)
    return told


def moved(connection: Connection, begin: int, end: int) -> dict[str, int]:
    closed = connection.opened + connection.length
    ticks = max(0, min(closed, end) - max(connection.opened, begin))
    return {
        "bytes": ticks * connection.size,
        "opened": int(begin < connection.opened <= end),
        "closed": int(begin < closed <= end),
    }


def rows_of(host: int, told: Told, made: Sequence[Connection]) -> list[Row]:
    """What a host's collector finds in some time, a row for each edge."""
    edges: dict[tuple[int, int], Counter] = {}
    for one in made:
        closed = one.opened + one.length
        if host in (one.client, one.server) and not (
            closed <= told.begin or one.opened > told.end
        ):
            edge = edges.setdefault((one.client, one.server), Counter())
            edge.update(moved(one, told.begin, told.end))
            edge["open"] += closed > told.end
    rows = []
    for (client, server), values in edges.items():
        ends = (f"10.0.0.{client}", f"10.0.0.{server}", 80)
        told_values = {name: values[name] for name in ("opened", "closed", "open")}
        if client == host:
            rows.append(client_row(*ends, bytes_sent=values["bytes"], **told_values))
        if server == host:
            rows.append(
                server_row(*ends, bytes_received=values["bytes"], **told_values)
            )
    return rows


def known(made: Sequence[Connection], told: Sequence[Sequence[Told]]) -> Counter:
    """What the end that knows more of an edge tells, window by window."""
    found: Counter = Counter()
    for client in range(HOSTS):
        for server in range(HOSTS):
            edge = [one for one in made if (one.client, one.server) == (client, server)]
            for window in range(WINDOWS if edge else 0):
                ends = []
                for host in (client, server):
                    seen: Counter = Counter()
                    for part in told[host]:
                        if (part.end - 1) // 100 == window:
                            for one in edge:
                                seen.update(moved(one, part.begin, part.end))
                    ends.append(seen)
                best = max(
                    ends, key=lambda one: (one["bytes"], one["opened"] + one["closed"])
                )
                found["bytes"] += best["bytes"]
                found["opened"] += 2 * best["opened"]
                found["closed"] += 2 * best["closed"]
    return +found


@settings(deadline=None, max_examples=30)
@example(  # the least gap there is
    [Connection(2, 0, 5, 97, 1)], [[], [], [Outage(101, 0, killed=True)]], 100, 12
)
@example(  # both ends were away in turn, and what was held is not the client's
    [Connection(2, 1, 431, 281, 147)],
    [[], [Outage(479, 195, killed=False)], [Outage(374, 178, killed=False)]],
    100,
    12,
)
@given(
    st.lists(connections, max_size=6),
    st.lists(st.lists(outages, max_size=2), min_size=HOSTS, max_size=HOSTS),
    st.sampled_from([100, 20]),
    st.integers(0, 2 * WINDOWS),
)
def test_restarts_lose_nothing_that_an_end_saw_and_count_nothing_twice(
    made, gone, interval, restart
):
    told = [told_by(one, interval) for one in gone]
    reducer, closed = Reducer(), []
    for window in range(WINDOWS):
        if window == restart:
            state = reducer.state()
            reducer.close()
            reducer = Reducer()
            reducer.restore(state)
        for host in range(HOSTS):
            for part in told[host]:
                if (part.end - 1) // 100 == window:
                    send(reducer, str(host), part, rows_of(host, part, made))
        closed += close(reducer, (window + 1) * 100)
    closed += close(reducer, (WINDOWS + 2) * 100)
    reducer.close()
    assert totals(closed, "bytes", "opened", "closed") == known(made, told)
