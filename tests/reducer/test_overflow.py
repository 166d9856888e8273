"""Overflow edges of one end against the rows of the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf_net.reducer.pipeline import ClosedWindow, Reducer
from ebpf_net.schema import Role
from ebpf_net.testing.tables import (
    START_NS,
    WINDOW_NS,
    Row,
    client_row,
    make_batch,
    make_edge,
    make_header,
    server_row,
)

LATENESS_NS = 2_000_000_000
CLIENT = "10.0.0.1"
SERVERS = [f"10.0.1.{number}" for number in range(1, 7)]


def overflow_row(own: str, role: Role, port: int = 80, **values: int) -> Row:
    return make_edge(own, "::", port, role, **values)


def send(reducer: Reducer, host: str, window: int, rows: Sequence[Row]) -> None:
    end = START_NS + (window + 1) * WINDOW_NS
    tables = {"hosts": [{"host_id": host, "boot_id": f"boot-{host}", "zone": host}]}
    batch = make_batch(rows, tables=tables, header=make_header(window, collector=host))
    reducer.add(batch, end, end)


def close(reducer: Reducer, window: int) -> list[ClosedWindow]:
    return reducer.close_windows(START_NS + (window + 1) * WINDOW_NS + LATENESS_NS)


def totals(closed: Sequence[ClosedWindow], *names: str) -> Counter:
    found: Counter = Counter()
    for one in closed:
        for edge in one.window.levels["az_az"].edges.to_pylist():
            found.update({name: edge[name] for name in names})
    return +found


def sizes(reducer: Reducer, unit: str = "bytes") -> dict[str, float]:
    return {
        point.labels[0][1]: point.value
        for point in reducer.metrics(0)
        if point.name == f"ebpf_net.reducer.overflow_{unit}" and point.value
    }


@pytest.fixture
def reducer():
    made = Reducer()
    yield made
    made.close()


def test_what_servers_tell_of_a_clients_overflow_edge_counts_once(reducer):
    row = overflow_row(CLIENT, Role.CLIENT, bytes_sent=30, opened=3, resets_sent=1)
    send(reducer, "a", 0, [row])
    told = [
        server_row(CLIENT, server, 80, bytes_received=10, opened=1, resets_received=1)
        for server in SERVERS[:2]
    ]
    send(reducer, "b", 0, told)
    closed = close(reducer, 0) + close(reducer, 2)
    found = totals(closed, "bytes", "opened")
    assert found == {"bytes": 30, "opened": 6}
    assert sizes(reducer) == {"claimed": 20, "alone": 10}
    assert sizes(reducer, "connections") == {"claimed": 2, "alone": 1}


def test_what_clients_tell_of_a_servers_overflow_edge_counts_once(reducer):
    row = overflow_row(SERVERS[0], Role.SERVER, bytes_received=30, resets_sent=2)
    send(reducer, "b", 0, [row])
    row = client_row(CLIENT, SERVERS[0], 80, bytes_sent=10, resets_received=2)
    send(reducer, "a", 0, [row])
    closed = close(reducer, 0) + close(reducer, 2)
    assert totals(closed, "bytes", "resets") == {"bytes": 30, "resets": 2}
    assert sizes(reducer) == {"claimed": 10, "alone": 20}


@pytest.mark.parametrize("other", [("10.0.0.9", 80), (CLIENT, 81)])
def test_another_address_or_port_tells_nothing_of_an_overflow_edge(reducer, other):
    send(reducer, "a", 0, [overflow_row(CLIENT, Role.CLIENT, bytes_sent=30)])
    send(reducer, "b", 0, [server_row(other[0], SERVERS[0], other[1], bytes_sent=7)])
    assert totals(close(reducer, 0) + close(reducer, 2), "bytes") == {"bytes": 37}
    assert sizes(reducer) == {"alone": 30}


def test_loopback_of_another_host_tells_nothing_of_an_overflow_edge(reducer):
    send(reducer, "a", 0, [overflow_row("127.0.0.1", Role.CLIENT, bytes_sent=30)])
    send(reducer, "b", 0, [server_row("127.0.0.1", "127.0.0.2", 80, bytes_sent=7)])
    assert totals(close(reducer, 0) + close(reducer, 2), "bytes") == {"bytes": 37}


def test_overflow_edges_of_both_ends_are_told_to_be_ambiguous(reducer):
    row = overflow_row(CLIENT, Role.CLIENT, bytes_sent=30, opened=2)
    send(reducer, "a", 0, [row])
    row = overflow_row(SERVERS[0], Role.SERVER, bytes_received=20, opened=1)
    send(reducer, "b", 0, [row])
    assert totals(close(reducer, 0) + close(reducer, 2), "bytes") == {"bytes": 50}
    assert sizes(reducer) == {"alone": 50, "ambiguous": 20}
    assert sizes(reducer, "connections") == {"alone": 3, "ambiguous": 1}


def test_a_nameless_overflow_edge_is_told_to_be_ambiguous(reducer):
    send(reducer, "a", 0, [overflow_row("::", Role.CLIENT, port=0, bytes_sent=30)])
    assert totals(close(reducer, 0) + close(reducer, 2), "bytes") == {"bytes": 30}
    assert sizes(reducer) == {"alone": 30, "ambiguous": 30}


# -- what really happened against what is reported --------------------------------

WINDOWS, TICKS = 5, 10


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[int, int, int, bool]:
    """Client's server, tick, bytes, and whether it is on the client's overflow edge."""
    return (
        draw(st.integers(0, len(SERVERS) - 1)),
        draw(st.integers(TICKS // 2, (WINDOWS - 1) * TICKS)),
        draw(st.integers(1, 1000)),
        draw(st.booleans()),
    )


def told(
    made: Sequence[tuple[int, int, int, bool]], begin: int, end: int, *, crowded: bool
) -> Counter:
    """Bytes by server between two looks."""
    found: Counter = Counter()
    for server, tick, size, is_crowded in made:
        if begin < tick <= end and is_crowded <= crowded:
            found[server] += size
    return found


@settings(deadline=None, max_examples=40)
@given(
    st.lists(exchanges(), max_size=12),
    st.lists(st.integers(-4, 4), min_size=2 * WINDOWS, max_size=2 * WINDOWS),
    st.sets(st.integers(0, len(SERVERS) - 1)),
    st.booleans(),
    st.integers(0, WINDOWS),
)
def test_totals_are_the_clients_whoever_of_the_servers_reports(
    made, skews, silent, swapped, restart
):
    """All of the traffic is the crowded end's; of the other ends some are silent.

    ``swapped``: it is a server that has no room, and clients that tell.
    """
    reducer, closed = Reducer(), []
    one, other = (server_row, client_row) if swapped else (client_row, server_row)
    role = Role.SERVER if swapped else Role.CLIENT
    sent, received = ("bytes_received", "bytes_sent")[:: 1 if swapped else -1]

    def edge(make, peer: str, **values: int) -> Row:
        ends = (peer, CLIENT) if swapped else (CLIENT, peer)
        return make(*ends, 80, **values)

    looks = [
        [-TICKS] + [window * TICKS + skew for window, skew in enumerate(skew_of, 1)]
        for skew_of in (skews[:WINDOWS], skews[WINDOWS:])
    ]
    for window in range(WINDOWS):
        if window == restart:
            state = reducer.state()
            reducer.close()
            reducer = Reducer()
            reducer.restore(state)
        begin, end = looks[0][window : window + 2]
        own = told(made, begin, end, crowded=False)
        every = told(made, begin, end, crowded=True)
        rows = [
            edge(one, SERVERS[peer], **{sent: size, "open": 1})
            for peer, size in own.items()
        ]
        crowded = every.total() - own.total()
        rows.append(overflow_row(CLIENT, role, **{sent: crowded}))
        send(reducer, "a", window, rows)
        begin, end = looks[1][window : window + 2]
        seen = told(made, begin, end, crowded=True)
        rows = [
            edge(other, SERVERS[peer], **{received: size})
            for peer, size in seen.items()
            if peer not in silent
        ]
        send(reducer, "b", window, rows)
        closed += close(reducer, window)
    closed += close(reducer, WINDOWS + 2)
    reducer.close()
    # What only one end has seen before both looked may be taken for something else.
    loose = sum(
        size
        for _, tick, size, _ in made
        if len({sum(look < tick for look in ends) for ends in looks}) > 1
    )
    counted = totals(closed, "bytes").get("bytes", 0)
    assert abs(counted - sum(size for _, _, size, _ in made)) <= loose
