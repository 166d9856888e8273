"""Batches in, windows out, at the level of az to az unless a test says otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ebpf_net.intake.batch import BatchHeader, BatchKind
from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.intake.sink import Overloaded
from ebpf_net.reducer.pipeline import ClosedWindow, Reducer, ReducerOptions
from ebpf_net.reducer.state import StateWriter, read_state
from ebpf_net.schema import Protocol, Sample
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
LATENESS_NS = 2 * SECOND_NS
CLIENT = "10.0.0.1"
SERVER = "10.0.0.2"


def end_of(window: int) -> int:
    return START_NS + (window + 1) * WINDOW_NS


def host_tables(name: str, boot: str = "") -> dict[str, list[Row]]:
    """A host with one process, of which comm is the host's name."""
    return {
        "hosts": [{"host_id": name, "boot_id": boot or f"boot-{name}", "zone": name}],
        "processes": [{"process_id": 1, "comm": name}],
    }


def send(
    reducer: Reducer,
    host: str,
    window: int,
    rows: Sequence[Row],
    samples: Sequence[tuple[int, int, int, int]] = (),
    received_in: int | None = None,
    **header: object,
) -> DecodedBatch:
    """Add a batch of a host a moment after the end of its window, or of a later one."""
    late = window if received_in is None else received_in
    received = end_of(late) + SECOND_NS // 10
    batch = make_batch(
        [{"process_id": 1, **row} for row in rows],
        samples=samples,
        tables=host_tables(host),
        header=make_header(window, collector=host, **header),
    )
    reducer.add(batch, received, received)
    return batch


def close(reducer: Reducer, window: int) -> list[ClosedWindow]:
    return reducer.close_windows(end_of(window) + LATENESS_NS)


def edges(closed: Iterable[ClosedWindow], level: str = "az_az") -> list[dict]:
    """All edges with the workloads of their ends, without what is zero."""
    result = []
    for one in closed:
        made = one.window.levels[level]
        names = made.nodes.column("workload.name").to_pylist()
        for edge in made.edges.to_pylist():
            values = {name: value for name, value in edge.items() if value}
            values["source"] = names[edge["source"]]
            values["dest"] = names[edge["dest"]]
            values["window"] = (one.window.start_ns - START_NS) // WINDOW_NS
            result.append(values)
    return result


def totals(closed: Iterable[ClosedWindow], *names: str) -> Counter:
    """Sums by (source, dest, name) over all windows."""
    result: Counter = Counter()
    for edge in edges(closed):
        for name in names:
            result[edge["source"], edge["dest"], name] += edge.get(name, 0)
    return +result


def names(reducer: Reducer) -> set[str]:
    """The collectors that the reducer knows."""
    return {
        dict(point.labels)["collector"]
        for point in reducer.metrics(0)
        if point.name == "ebpf_net.clock_offset_ns"
    }


def late_rows(reducer: Reducer) -> dict[str, float]:
    return {
        point.labels[0][1]: point.value
        for point in reducer.metrics(0)
        if point.name == "ebpf_net.reducer.late_rows"
    }


@pytest.fixture
def reducer() -> Iterable[Reducer]:
    made = Reducer()
    yield made
    made.close()


def test_both_ends_of_an_edge_become_one(reducer):
    send(
        reducer,
        "a",
        0,
        [
            client_row(
                CLIENT, SERVER, 80, bytes_sent=10, bytes_received=99, packets_sent=2,
                packets_received=3, opened=1, open=1, retransmits=4, resets_sent=1,
                syn_timeouts=1, rtt_count=1, rtt_sum_us=50, rtt_min_us=40,
                rtt_max_us=50, connect_count=1, connect_sum_us=60,
                connect_failures=2, resets_received=9,
            )
        ],
        [(0, Sample.RTT, -5, 1), (0, Sample.CONNECT_FAILURE, 1, 2)],
    )  # fmt: skip
    send(
        reducer,
        "b",
        0,
        [
            server_row(
                CLIENT, SERVER, 80, bytes_sent=98, bytes_received=9, packets_sent=8,
                packets_received=8, opened=1, open=1, retransmits=5, resets_sent=3,
                resets_received=9, syn_timeouts=6, rtt_count=1, rtt_sum_us=70,
                rtt_min_us=70, rtt_max_us=70,
            )
        ],
        [(0, Sample.RTT, -6, 1)],
    )  # fmt: skip
    closed = close(reducer, 0)
    assert edges(closed) == [
        {
            "source": "a", "dest": "b", "window": 0, "protocol": 6, "bytes": 10,
            "packets": 2, "retransmits": 4, "resets": 1, "syn_timeouts": 1,
            "opened": 1, "open": 1, "connect_failures": 2, "rtt_count": 1,
            "rtt_sum_us": 50, "rtt_min_us": 40, "rtt_max_us": 50, "connect_count": 1,
            "connect_sum_us": 60,
        },
        {
            "source": "b", "dest": "a", "window": 0, "protocol": 6, "bytes": 99,
            "packets": 3, "retransmits": 5, "resets": 3, "syn_timeouts": 6,
            "opened": 1, "open": 1, "rtt_count": 1, "rtt_sum_us": 70,
            "rtt_min_us": 70, "rtt_max_us": 70,
        },
    ]  # fmt: skip
    assert closed[0].window.levels["az_az"].samples.to_pylist() == [
        {"edge": 0, "count": 1, "bucket": -5, "kind": Sample.RTT},
        {"edge": 0, "count": 2, "bucket": 1, "kind": Sample.CONNECT_FAILURE},
        {"edge": 1, "count": 1, "bucket": -6, "kind": Sample.RTT},
    ]
    assert closed[0].commits == (("a", "first", 1), ("b", "first", 1))


def test_drops_are_told_from_the_sender(reducer):
    udp = {"protocol": int(Protocol.UDP)}
    send(reducer, "a", 0, [client_row(CLIENT, SERVER, 53, drops=1, **udp)])
    send(
        reducer, "b", 0, [server_row(CLIENT, SERVER, 53, drops=2, **udp)],
        [(0, Sample.DROP, 1, 2)],
    )  # fmt: skip
    closed = close(reducer, 0)
    assert totals(closed, "drops") == {("a", "b", "drops"): 2, ("b", "a", "drops"): 1}
    assert closed[0].window.levels["az_az"].samples.to_pylist() == [
        {"edge": 0, "count": 2, "bucket": 1, "kind": Sample.DROP}
    ]


def test_edge_without_a_client_is_told_by_the_server(reducer):
    row = server_row(
        CLIENT, SERVER, 80, bytes_sent=7, bytes_received=3, opened=1, resets_received=2
    )
    send(reducer, "b", 0, [row])
    send(reducer, "b", 1, [row])
    assert edges(close(reducer, 0)) == []
    assert [
        (edge["window"], edge["source"], edge["dest"], edge["bytes"], edge["opened"])
        for edge in edges(close(reducer, 1))
    ] == [
        (0, "(unknown)", "b", 3, 1),
        (0, "b", "(unknown)", 7, 1),
        (1, "(unknown)", "b", 3, 1),
        (1, "b", "(unknown)", 7, 1),
    ]


def test_reset_received_by_the_only_known_end_was_sent_by_the_other(reducer):
    send(reducer, "a", 0, [client_row(CLIENT, SERVER, 80, resets_received=2)])
    assert totals(close(reducer, 0), "resets") == {("(unknown)", "a", "resets"): 2}


def test_connection_seen_first_at_the_server_counts_once(reducer):
    volume = {"bytes_sent": 5, "opened": 1}
    send(reducer, "a", 0, [])
    send(reducer, "b", 0, [server_row(CLIENT, SERVER, 80, opened=1, retransmits=3)])
    send(reducer, "a", 1, [client_row(CLIENT, SERVER, 80, **volume)])
    send(reducer, "b", 1, [])
    assert totals(close(reducer, 1), "bytes", "opened", "retransmits") == {
        ("a", "b", "bytes"): 5,
        ("a", "b", "opened"): 1,
        ("b", "a", "opened"): 1,
        ("b", "a", "retransmits"): 3,
    }


def test_connection_seen_last_at_the_server_counts_once(reducer):
    send(reducer, "a", 0, [client_row(CLIENT, SERVER, 80, bytes_sent=5, closed=1)])
    send(reducer, "b", 0, [server_row(CLIENT, SERVER, 80, open=1)])
    send(reducer, "a", 1, [])
    send(reducer, "b", 1, [server_row(CLIENT, SERVER, 80, bytes_received=1, closed=1)])
    assert totals(close(reducer, 1), "bytes", "closed") == {
        ("a", "b", "bytes"): 5,
        ("a", "b", "closed"): 1,
        ("b", "a", "closed"): 1,
    }


def test_server_takes_over_when_the_clients_collector_dies(reducer):
    for window in range(5):
        if window < 2:
            send(reducer, "a", window, [client_row(CLIENT, SERVER, 80, bytes_sent=10)])
        send(reducer, "b", window, [server_row(CLIENT, SERVER, 80, bytes_received=10)])
    found = edges(close(reducer, 4))
    assert [(edge["window"], edge["bytes"]) for edge in found if edge.get("bytes")] == [
        (window, 10) for window in range(5)
    ]


def test_restart_of_the_clients_collector_loses_nothing_that_the_server_saw(reducer):
    for window in range(8):
        if window not in {3, 4}:
            incarnation = "first" if window < 3 else "second"
            row = client_row(CLIENT, SERVER, 80, bytes_sent=10)
            send(reducer, "a", window, [row], incarnation=incarnation)
        send(reducer, "b", window, [server_row(CLIENT, SERVER, 80, bytes_received=10)])
    assert totals(close(reducer, 7), "bytes") == {("a", "b", "bytes"): 80}


def test_new_edge_of_a_window_that_the_clients_collector_missed_counts(reducer):
    volume = {"bytes_received": 10, "opened": 1}
    send(reducer, "a", 0, [])
    send(reducer, "b", 0, [])
    send(reducer, "b", 1, [server_row(CLIENT, SERVER, 80, **volume)])
    send(reducer, "a", 2, [client_row(CLIENT, SERVER, 80, bytes_sent=5)])
    send(reducer, "b", 2, [server_row(CLIENT, SERVER, 80, bytes_received=5)])
    closed = close(reducer, 2)
    send(reducer, "a", 1, [client_row(CLIENT, SERVER, 80, bytes_sent=10, opened=1)],
         received_in=3)  # fmt: skip
    closed += close(reducer, 4)
    found = totals(closed, "bytes", "opened")
    assert sum(found[key] for key in found if key[2] == "bytes") == 15
    assert sum(found[key] for key in found if key[2] == "opened") == 2


def test_held_row_gives_way_to_its_late_client(reducer):
    send(reducer, "a", 0, [])
    send(reducer, "b", 0, [])
    send(reducer, "b", 1, [server_row(CLIENT, SERVER, 80, bytes_received=10)])
    closed = close(reducer, 1)
    late = [client_row(CLIENT, SERVER, 80, bytes_sent=10)]
    send(reducer, "a", 1, late, received_in=2)
    closed += close(reducer, 4)
    assert totals(closed, "bytes") == {("a", "b", "bytes"): 10}


def test_part_of_a_window_does_not_tell_what_the_client_did_not_see(reducer):
    row = client_row(CLIENT, SERVER, 80, bytes_sent=10)
    send(reducer, "a", 0, [row])
    send(reducer, "b", 0, [server_row(CLIENT, SERVER, 80, bytes_received=10)])
    send(reducer, "a", 1, [], last_of_window=False)
    send(reducer, "b", 1, [server_row(CLIENT, SERVER, 80, bytes_received=10)])
    closed = close(reducer, 1)
    send(reducer, "a", 1, [row], sequence=3, received_in=2)
    closed += close(reducer, 3)
    assert totals(closed, "bytes") == {("a", "b", "bytes"): 20}


def test_late_client_row_is_superseded_where_the_server_stood_in(reducer):
    for window in range(5):
        if window not in {2, 3}:
            send(reducer, "a", window, [client_row(CLIENT, SERVER, 80, bytes_sent=10)])
        send(reducer, "b", window, [server_row(CLIENT, SERVER, 80, bytes_received=10)])
    closed = close(reducer, 4)
    other = client_row(CLIENT, SERVER, 81, bytes_sent=7)
    send(reducer, "a", 2, [client_row(CLIENT, SERVER, 80, bytes_sent=10), other])
    send(reducer, "a", 3, [client_row(CLIENT, SERVER, 80, bytes_sent=10)])
    closed += close(reducer, 5)
    assert totals(closed, "bytes") == {
        ("a", "b", "bytes"): 50,
        ("a", "(unknown)", "bytes"): 7,
    }
    counts = {reason: count for reason, count in late_rows(reducer).items() if count}
    assert counts == {"counted": 1, "superseded": 2}
    assert [one.window.start_ns for one in closed[-2:]] == [
        START_NS + 2 * WINDOW_NS,
        START_NS + 3 * WINDOW_NS,
    ]
    assert [one.commits for one in closed[-2:]] == [
        (("a", "first", 3),),
        (("a", "first", 4),),
    ]


def test_late_server_row_adds_only_what_the_client_cannot_know(reducer):
    send(reducer, "a", 0, [client_row(CLIENT, SERVER, 80, bytes_sent=10)])
    closed = close(reducer, 0)
    send(
        reducer,
        "b",
        0,
        [server_row(CLIENT, SERVER, 80, bytes_received=9, retransmits=1)],
    )
    closed += close(reducer, 1)
    assert totals(closed, "bytes", "retransmits") == {
        ("a", "(unknown)", "bytes"): 10,
        ("b", "a", "retransmits"): 1,
    }


def test_rows_from_beyond_the_horizon_are_dropped_and_committed():
    reducer = Reducer(ReducerOptions(horizon_ns=30 * SECOND_NS))
    old = make_batch([client_row(CLIENT, SERVER, 80)], header=make_header(0))
    reducer.add(old, end_of(0) + 31 * SECOND_NS, end_of(0) + 31 * SECOND_NS)
    assert late_rows(reducer)["too_old"] == 1
    send(reducer, "a", 5, [])
    assert close(reducer, 5)[0].commits == (("a", "first", 6), ("one", "first", 1))


def test_rows_of_a_window_far_ahead_are_dropped_and_committed():
    reducer = Reducer(ReducerOptions(horizon_ns=30 * SECOND_NS))
    row = client_row(CLIENT, SERVER, 80, bytes_sent=7)
    send(reducer, "a", 4, [row], received_in=0)
    send(reducer, "a", 5, [row], received_in=0)
    assert late_rows(reducer)["too_new"] == 1
    closed = close(reducer, 5)
    assert [one.commits for one in closed] == [(("a", "first", 5), ("a", "first", 6))]
    assert sum(edge.get("bytes", 0) for edge in edges(closed)) == 7


def test_collector_that_sends_only_snapshots_is_forgotten():
    reducer = Reducer(ReducerOptions(horizon_ns=30 * SECOND_NS))
    for number in range(3):
        header = make_header(
            0, collector=f"mute-{number}", kind=BatchKind.SNAPSHOT, sequence=0
        )
        reducer.add(make_batch(header=header), end_of(0), end_of(0))
    row = client_row(CLIENT, SERVER, 80, bytes_sent=7)
    heard = [
        (send(reducer, "a", window, [row]), close(reducer, window), names(reducer))[-1]
        for window in range(7)
    ]
    assert heard[0] == {"mute-0", "mute-1", "mute-2", "a"}
    assert heard[-1] == {"a"}


def test_docker_bridges_of_two_hosts_do_not_mix(reducer):
    for host, size in (("a", 1), ("b", 100)):
        send(
            reducer,
            host,
            0,
            [
                client_row("172.17.0.2", "172.17.0.3", 80, bytes_sent=size),
                server_row("172.17.0.2", "172.17.0.3", 80, bytes_received=size),
            ],
        )
    assert totals(close(reducer, 0), "bytes") == {
        ("a", "a", "bytes"): 1,
        ("b", "b", "bytes"): 100,
    }


def test_server_alone_on_its_bridge_is_not_taken_for_another_hosts(reducer):
    same = ("172.17.0.2", "172.17.0.3", 80)
    for window in range(2):
        send(
            reducer, "a", window,
            [client_row(*same, bytes_sent=1), server_row(*same, bytes_received=1)],
        )  # fmt: skip
        send(reducer, "b", window, [server_row(*same, bytes_received=100)])
    assert totals(close(reducer, 1), "bytes") == {
        ("a", "a", "bytes"): 2,
        ("(unknown)", "b", "bytes"): 200,
    }


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_matches_within_a_network_namespace_only(reducer, address):
    ends = (address, address, 80)
    send(
        reducer,
        "a",
        0,
        [
            client_row(*ends, bytes_sent=1, netns=1),
            server_row(*ends, bytes_received=1, netns=1),
            client_row(*ends, bytes_sent=10, netns=2),
        ],
    )
    send(reducer, "b", 0, [server_row(*ends, bytes_received=100, netns=2)])
    closed = close(reducer, 0) + close(reducer, 2)
    nodes = {
        (name, kind)
        for one in closed
        for name, kind in zip(
            one.window.levels["az_az"].nodes.column("workload.name").to_pylist(),
            one.window.levels["az_az"].nodes.column("resolution_type").to_pylist(),
            strict=True,
        )
    }
    assert totals(closed, "bytes") == {
        ("a", "a", "bytes"): 1,
        ("a", "(unknown)", "bytes"): 10,
        ("(unknown)", "b", "bytes"): 100,
    }
    assert nodes == {("a", "PROCESS"), ("b", "PROCESS"), ("(unknown)", "LOCALHOST")}


def test_kept_client_ports_do_not_prevent_a_match(reducer):
    send(
        reducer, "a", 0, [client_row(CLIENT, SERVER, 80, bytes_sent=1, local_port=4000)]
    )
    send(
        reducer, "b", 0,
        [server_row(CLIENT, SERVER, 80, bytes_received=1, remote_port=4000)],
    )  # fmt: skip
    assert totals(close(reducer, 0), "bytes") == {("a", "b", "bytes"): 1}


def test_unknown_role_is_settled_by_the_ports(reducer):
    client = client_row(CLIENT, SERVER, 80, bytes_sent=1, local_port=4000)
    server = server_row(CLIENT, SERVER, 80, bytes_received=1, remote_port=4000)
    send(reducer, "a", 0, [{**client, "role": 0}])
    send(reducer, "b", 0, [{**server, "role": 0}])
    assert totals(close(reducer, 0), "bytes") == {("a", "b", "bytes"): 1}


def test_several_processes_at_both_ends_keep_exact_totals(reducer):
    tables = {
        "hosts": [{"host_id": "h", "boot_id": "boot"}],
        "processes": [
            {"process_id": number, "comm": f"p{number}"} for number in range(1, 5)
        ],
    }
    batch = make_batch(
        [
            client_row(CLIENT, SERVER, 80, process_id=1, bytes_sent=10),
            client_row(CLIENT, SERVER, 80, process_id=2, bytes_sent=20),
            server_row(
                CLIENT, SERVER, 80, process_id=3, bytes_received=12, retransmits=1
            ),
            server_row(
                CLIENT, SERVER, 80, process_id=4, bytes_received=18, retransmits=2
            ),
        ],
        tables=tables,
    )
    reducer.add(batch, end_of(0), end_of(0))
    assert totals(close(reducer, 0), "bytes", "retransmits") == {
        ("p1", "p4", "bytes"): 10,
        ("p2", "p4", "bytes"): 20,
        ("p4", "p2", "retransmits"): 3,
    }


def test_window_closes_at_its_end_and_lateness(reducer):
    send(reducer, "a", 0, [])
    assert reducer.next_close_ns() == end_of(0) + LATENESS_NS
    assert reducer.close_windows(end_of(0) + LATENESS_NS - 1) == []
    assert len(close(reducer, 0)) == 1
    assert reducer.next_close_ns() is None


def test_window_closes_when_all_live_collectors_have_delivered(reducer):
    send(reducer, "a", 0, [])
    send(reducer, "b", 0, [])
    close(reducer, 0)
    send(reducer, "a", 1, [])
    send(reducer, "b", 1, [], last_of_window=False)
    assert reducer.close_windows(end_of(1) + 1) == []
    send(reducer, "b", 1, [], sequence=3)
    assert len(reducer.close_windows(end_of(1) + 1)) == 1


def test_snapshot_names_what_was_unknown(reducer):
    header = make_header(0, collector="a", kind=BatchKind.SNAPSHOT)
    reducer.add(make_batch(tables=host_tables("a"), header=header), START_NS, START_NS)
    batch = make_batch(
        [client_row(CLIENT, SERVER, 80, process_id=1, bytes_sent=1)],
        header=make_header(0, collector="a"),
    )
    reducer.add(batch, end_of(0), end_of(0))
    closed = close(reducer, 0)
    assert totals(closed, "bytes") == {("a", "(unknown)", "bytes"): 1}
    assert closed[0].commits == (("a", "first", 1),)


def test_more_rows_than_allowed_are_refused():
    reducer = Reducer(ReducerOptions(max_rows=1))
    send(reducer, "a", 0, [client_row(CLIENT, SERVER, 80)])
    with pytest.raises(Overloaded):
        send(reducer, "b", 0, [client_row(CLIENT, SERVER, 80)])
    close(reducer, 0)
    send(reducer, "a", 1, [client_row(CLIENT, SERVER, 80)])


def test_wrong_clock_is_measured_and_corrected(reducer):
    wrong = 3600 * SECOND_NS
    header = BatchHeader(
        **{
            **vars(make_header(0, collector="a")),
            "window_start_ns": START_NS - wrong,
            "window_end_ns": START_NS - wrong + WINDOW_NS,
        }
    )
    reducer.add(make_batch(header=header), end_of(0) + 5, end_of(0) - wrong)
    assert close(reducer, 0)[0].window.start_ns == START_NS
    offsets = [
        point.value
        for point in reducer.metrics(0)
        if point.name == "ebpf_net.clock_offset_ns"
    ]
    assert offsets == [-wrong - 5]


def test_state_of_something_else_is_refused(reducer):
    with pytest.raises(ValueError, match="state"):
        reducer.restore(b"something else")
    other = Reducer(ReducerOptions(window_ns=SECOND_NS))
    with pytest.raises(ValueError, match="windows of 1000000000 ns"):
        reducer.restore(other.state())


def test_state_without_a_later_versions_table_is_restored(reducer):
    send(reducer, "b", 0, [server_row(CLIENT, SERVER, 80, bytes_received=5)])
    closed = close(reducer, 0)
    state = read_state(reducer.state(), 1_000)
    tables = {name: state.tables[name] for name in state.tables if name != "cgroups"}
    again = Reducer()
    state = replace(state, tables=tables)
    again.restore(StateWriter().write(state, whole=True))
    closed += again.close_windows(end_of(2) + LATENESS_NS)
    again.close()
    assert totals(closed, "bytes") == {("(unknown)", "b", "bytes"): 5}


# -- what really happened against what is reported --------------------------------


@dataclass(frozen=True)
class Connection:
    """A connection that sends ``size`` bytes each 100 ms while it is open."""

    client: int
    server: int
    opened: int  # in 100 ms
    length: int
    size: int


HOSTS = 3
TICKS = 100  # of a window


@st.composite
def connections(draw: st.DrawFn) -> Connection:
    return Connection(
        draw(st.integers(0, HOSTS - 1)),
        draw(st.integers(0, HOSTS - 1)),
        draw(st.integers(5, 4 * TICKS - 10)),  # all are over at the last look
        draw(st.integers(0, 2 * TICKS)),
        draw(st.integers(1, 1000)),
    )


def rows_of_host(
    host: int, begin: int, end: int, all_connections: Sequence[Connection]
) -> list[Row]:
    """What a host's collector finds between two of its looks, in ticks."""
    rows = []
    for connection in all_connections:
        closed = connection.opened + connection.length
        if closed <= begin or connection.opened > end:
            continue
        moved = min(closed, end) - max(connection.opened, begin)
        values = {
            "opened": int(begin < connection.opened <= end),
            "closed": int(begin < closed <= end),
            "open": int(closed > end),
        }
        ends = (f"10.0.0.{connection.client}", f"10.0.0.{connection.server}")
        bytes_moved = moved * connection.size
        if connection.client == host:
            rows.append(client_row(*ends, 80, bytes_sent=bytes_moved, **values))
        if connection.server == host:
            rows.append(server_row(*ends, 80, bytes_received=bytes_moved, **values))
    return merge(rows)


def merge(rows: Iterable[Row]) -> list[Row]:
    """Add up rows of one key, as a collector does."""
    merged: dict[tuple, dict] = {}
    for row in rows:
        key = (row["local_address_low"], row["remote_address_low"], row["role"])
        if key not in merged:
            merged[key] = dict(row)
            continue
        for name in ("bytes_sent", "bytes_received", "opened", "closed", "open"):
            merged[key][name] = merged[key].get(name, 0) + row.get(name, 0)
    return list(merged.values())


def restarted(reducer: Reducer) -> Reducer:
    """Another reducer that goes on where this one has stopped."""
    state = reducer.state()
    reducer.close()
    successor = Reducer()
    successor.restore(state)
    return successor


@settings(deadline=None, max_examples=25)
@given(
    st.lists(connections(), max_size=8),
    st.lists(
        st.lists(st.integers(-9, 9), min_size=7, max_size=7),
        min_size=HOSTS,
        max_size=HOSTS,
    ),
    st.randoms(use_true_random=False),
    st.integers(0, 6),
)
def test_totals_are_exact_whenever_the_ends_look(made, skews, random, restart):
    reducer = Reducer()
    closed: list[ClosedWindow] = []
    looks = [
        [window * TICKS + skew for window, skew in enumerate(host)] for host in skews
    ]
    for window in range(6):
        if window == restart:
            reducer = restarted(reducer)
        for host in random.sample(range(HOSTS), HOSTS):
            begin = looks[host][window] if window else -TICKS
            rows = rows_of_host(host, begin, looks[host][window + 1], made)
            # Somebody unknown keeps each server known.
            rows.append(server_row("192.0.2.1", f"10.0.0.{host}", 80, open=1))
            send(reducer, str(host), window, rows)
        closed += close(reducer, window)
    closed += close(reducer, 8)
    reducer.close()
    expected: Counter = Counter()
    for one in made:
        client, server = str(one.client), str(one.server)
        expected[client, server, "bytes"] += one.size * one.length
        for name in ("opened", "closed"):
            expected[client, server, name] += 1
            expected[server, client, name] += 1
    assert totals(closed, "bytes", "opened", "closed") == +expected


def test_short_windows_of_one_collector_do_not_add_up_what_is_open(reducer):
    row = client_row(CLIENT, SERVER, 80, open=3, bytes_sent=10)
    middle = START_NS + WINDOW_NS // 2
    send(reducer, "a", 0, [row], sequence=1, window_end_ns=middle)
    restarted = {"incarnation": "second", "window_start_ns": middle}
    send(reducer, "a", 0, [row], sequence=1, **restarted)
    forth = next(edge for edge in edges(close(reducer, 0)) if edge["source"] == "a")
    assert (forth["open"], forth["bytes"]) == (3, 20)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(connections(), max_size=6),
    st.lists(
        st.lists(st.integers(0, 3), min_size=6, max_size=6),
        min_size=HOSTS,
        max_size=HOSTS,
    ),
)
@example(
    [Connection(client=2, server=0, opened=232, length=71, size=1)],
    [[0, 0, 0, 2, 0, 0], [0] * 6, [3, 3, 3, 0, 0, 0]],
)
def test_totals_are_exact_whenever_batches_come(made, delays):
    reducer = Reducer()
    closed: list[ClosedWindow] = []
    for now in range(10):
        for host in range(HOSTS):
            for window in range(6):
                if window + delays[host][window] == now:
                    begin = window * TICKS if window else -TICKS
                    rows = rows_of_host(host, begin, (window + 1) * TICKS, made)
                    send(reducer, str(host), window, rows, received_in=now)
        closed += close(reducer, now)
    closed += close(reducer, 12)
    reducer.close()
    found: Counter = Counter()
    for (_, _, name), value in totals(closed, "bytes", "opened", "closed").items():
        found[name] += value
    assert found == +Counter(
        bytes=sum(one.size * one.length for one in made),
        opened=2 * len(made),
        closed=2 * len(made),
    )
    assert sorted(commit for one in closed for commit in one.commits) == [
        (str(host), "first", window + 1) for host in range(HOSTS) for window in range(6)
    ]


Times = list[list[int | None]]
"""By host and window: how many windows late its batch comes; None: never."""


def times(choices: Sequence[int | None]) -> st.SearchStrategy[Times]:
    host = st.lists(st.sampled_from(choices), min_size=6, max_size=6)
    return st.lists(host, min_size=HOSTS, max_size=HOSTS)


def told(made: Sequence[Connection], delays: Times) -> Counter:
    """What at least one end reports, added up window by window."""
    found: Counter = Counter()
    for one in made:
        closed = one.opened + one.length
        for window in range(6):
            if {delays[one.client][window], delays[one.server][window]} == {None}:
                continue
            begin, end = window * TICKS if window else -TICKS, (window + 1) * TICKS
            moved = min(closed, end) - max(one.opened, begin)
            found["bytes"] += max(0, moved) * one.size
            found["opened"] += 2 * (begin < one.opened <= end)
            found["closed"] += 2 * (begin < closed <= end)
    return +found


@settings(deadline=None, max_examples=25)
@given(
    st.lists(connections(), max_size=6),
    times([0, 0, 0, None]) | times([0, 0, 1, 3, None]),
    st.integers(0, 12),
)
def test_what_one_end_missed_counts_as_the_other_saw_it(made, delays, restart):
    reducer = Reducer()
    closed: list[ClosedWindow] = []
    is_late = any(delay for host in delays for delay in host)
    for now in range(10):
        if now == restart and not is_late:  # what waits would have to be sent again
            reducer = restarted(reducer)
        for host in range(HOSTS):
            for window in range(6):
                delay = delays[host][window]
                if delay is None or window + delay != now:
                    continue
                # What was killed comes back as another incarnation.
                lives = str(delays[host][:window].count(None))
                begin = window * TICKS if window else -TICKS
                rows = rows_of_host(host, begin, (window + 1) * TICKS, made)
                header = {"received_in": now, "incarnation": lives}
                send(reducer, str(host), window, rows, **header)
        closed += close(reducer, now)
    closed += close(reducer, 12)
    reducer.close()
    found: Counter = Counter()
    for (_, _, name), value in totals(closed, "bytes", "opened", "closed").items():
        found[name] += value
    assert found == told(made, delays)
