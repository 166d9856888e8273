import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.kernel.edges import EdgeTable
from ebpf_net.collectors.kernel.tcp import socket_ids, tcp_facts
from ebpf_net.collectors.kernel.udp import udp_facts
from ebpf_net.schema import EDGE_SAMPLES, EDGES, Sample
from ebpf_net.testing.kernel import NETNS, tcp_records, udp_records

OPENED, ADOPTED, CLOSED, FAILED = 1, 2, 4, 8
MAPPED = 0xFFFF_0000_0000
IPV4_1 = MAPPED | 0x0A000001
IPV4_2 = MAPPED | 0x0A000002


def add(table, records, keep_client_port=False):
    roles = records["role"].astype(np.int64)
    return table.add(
        tcp_facts(records, roles, socket_ids(records), keep_client_port)
    ).tolist()


def rows(columns):
    """Rows as dictionaries of what is not zero."""
    edges = columns.edges
    assert list(edges) != []
    count = edges["open"].size
    return [
        {name: int(edges[name][row]) for name, _ in EDGES if edges[name][row] != 0}
        for row in range(count)
    ]


def samples(columns):
    table = columns.samples
    return list(
        zip(
            table["edge"].tolist(),
            table["kind"].tolist(),
            table["bucket"].tolist(),
            table["count"].tolist(),
            strict=True,
        )
    )


KEY = {
    "local_address_low": IPV4_1,
    "remote_address_low": IPV4_2,
    "netns": NETNS,
    "process_id": 500 << 22 | 100,
    "cgroup_id": 7,
    "remote_port": 443,
    "protocol": 6,
    "role": 1,
}

OWN_END = {
    name: KEY[name]
    for name in ("local_address_low", "netns", "remote_port", "protocol", "role")
}


def test_connections_of_a_process_with_one_server_become_one_edge():
    table = EdgeTable(100)
    add(
        table,
        tcp_records(
            {"local_port": 40001, "flags": OPENED | CLOSED, "bytes_sent": 10,
             "bytes_received": 1000, "segments_sent": 5, "segments_received": 6,
             "connect_us": 1000, "srtt_us": 400, "min_rtt_us": 300},
            {"local_port": 40002, "flags": OPENED | CLOSED, "bytes_sent": 20,
             "bytes_received": 3000, "segments_sent": 7, "segments_received": 8,
             "connect_us": 3000, "srtt_us": 600, "min_rtt_us": 200,
             "retransmits": 2, "resets_sent": 1},
        ),
    )  # fmt: skip
    assert rows(table.finish()) == [
        KEY
        | {
            "bytes_sent": 30, "bytes_received": 4000, "packets_sent": 12,
            "packets_received": 14, "rtt_sum_us": 1000, "connect_sum_us": 4000,
            "retransmits": 2, "resets_sent": 1, "opened": 2, "closed": 2,
            "rtt_count": 2, "rtt_min_us": 200, "rtt_max_us": 600, "connect_count": 2,
        }
    ]  # fmt: skip


def test_columns_have_the_types_of_the_schema():
    table = EdgeTable(100)
    add(table, tcp_records({"srtt_us": 7}))
    columns = table.finish()
    assert {name: str(values.dtype) for name, values in columns.edges.items()} == dict(
        EDGES
    )
    assert {
        name: str(values.dtype) for name, values in columns.samples.items()
    } == dict(EDGE_SAMPLES)


def test_a_server_keeps_its_port_and_drops_that_of_the_client():
    table = EdgeTable(100)
    add(table, tcp_records({"role": 2, "local_port": 80, "remote_port": 50000}))
    (row,) = rows(table.finish())
    assert row["local_port"] == 80
    assert "remote_port" not in row


def test_the_client_port_is_kept_when_asked():
    table = EdgeTable(100)
    add(table, tcp_records({"local_port": 40001}, {"local_port": 40002}), True)
    assert [row["local_port"] for row in rows(table.finish())] == [40001, 40002]


def test_only_the_last_rtt_of_a_socket_counts():
    table = EdgeTable(100)
    add(table, tcp_records({"cookie": 5, "time_ns": 30, "srtt_us": 900}))
    add(
        table,
        tcp_records(
            {"cookie": 5, "time_ns": 20, "srtt_us": 100},
            {"cookie": 6, "time_ns": 10, "srtt_us": 50},
        ),
    )
    columns = table.finish()
    (row,) = rows(columns)
    assert (row["rtt_sum_us"], row["rtt_count"], row["rtt_max_us"]) == (950, 2, 900)
    assert samples(columns) == [(0, Sample.RTT, -58, 1), (0, Sample.RTT, -41, 1)]


def test_a_late_reset_is_no_second_rtt():
    table = EdgeTable(100)
    socket = {"cookie": 5, "srtt_us": 100}
    add(table, tcp_records(socket | {"flags": OPENED | CLOSED, "state": 1}))
    add(table, tcp_records(socket | {"flags": 0, "state": 7, "resets_sent": 1}))
    (row,) = rows(table.finish())
    assert (row["rtt_count"], row["resets_sent"]) == (1, 1)


def test_sockets_without_cookie_are_told_apart_by_their_ends():
    table = EdgeTable(100)
    add(
        table,
        tcp_records(
            {"cookie": 0, "local_port": 1, "time_ns": 1, "srtt_us": 10},
            {"cookie": 0, "local_port": 1, "time_ns": 2, "srtt_us": 20},
            {"cookie": 0, "local_port": 2, "time_ns": 1, "srtt_us": 40},
        ),
    )
    (row,) = rows(table.finish())
    assert (row["rtt_sum_us"], row["rtt_count"]) == (60, 2)


def test_an_idle_open_connection_is_reported_in_each_window():
    table = EdgeTable(100)
    add(table, tcp_records({"flags": OPENED, "bytes_sent": 5}))
    assert rows(table.finish()) == [KEY | {"bytes_sent": 5, "opened": 1, "open": 1}]
    assert rows(table.finish()) == [KEY | {"open": 1}]
    add(table, tcp_records({"flags": CLOSED, "bytes_sent": 6}))
    assert rows(table.finish()) == [KEY | {"bytes_sent": 6, "closed": 1}]
    assert rows(table.finish()) == []


def test_an_adopted_connection_is_open_but_not_new():
    table = EdgeTable(100)
    add(table, tcp_records({"flags": ADOPTED}))
    assert rows(table.finish()) == [KEY | {"open": 1}]


def test_only_edges_that_are_new_are_told():
    table = EdgeTable(100)
    first = tcp_records({"remote_port": 1}, {"remote_port": 1}, {"remote_port": 2})
    assert add(table, first) == [0, 2]
    assert add(table, first) == []


@pytest.mark.parametrize("max_edges", [0, 1, 2])
def test_totals_stay_exact_when_edges_find_no_room(max_edges):
    table = EdgeTable(max_edges)
    for low in range(1, 6):
        add(table, tcp_records({"remote_address": f"10.0.9.{low}", "bytes_sent": 10}))
    result = rows(table.finish())
    assert sum(row["bytes_sent"] for row in result) == 50
    assert len(result) == max_edges + 1
    assert result[-1] == {
        **OWN_END,
        "bytes_sent": 10 * (5 - max_edges),
    }
    assert table.overflowed_records == 5 - max_edges


def test_overflow_edges_are_bounded_too_and_then_nameless():
    table = EdgeTable(0)
    for remote_port in range(1, 6):
        add(table, tcp_records({"remote_port": remote_port, "bytes_sent": 10}))
    result = rows(table.finish())
    assert [row["bytes_sent"] for row in result] == [10, 40]
    assert result[1] == {"bytes_sent": 40, "protocol": 6, "role": 1}


def test_a_connection_counted_on_the_overflow_edge_closes_there():
    table = EdgeTable(2)
    for remote_port in (1, 2, 3):
        add(table, tcp_records({"remote_port": remote_port, "flags": OPENED}))
    assert [row["open"] for row in rows(table.finish())] == [1, 1, 1]
    for remote_port in (1, 2):
        add(table, tcp_records({"remote_port": remote_port, "flags": CLOSED}))
    assert [row.get("open", 0) for row in rows(table.finish())] == [0, 0, 1]
    add(table, tcp_records({"remote_port": 3, "flags": CLOSED}))
    assert rows(table.finish()) == [
        OWN_END | {"remote_port": 3},
        KEY | {"remote_port": 3, "closed": 1},
    ]
    assert rows(table.finish()) == []


def test_a_close_whose_beginning_is_unknown_makes_no_overflow_edge():
    table = EdgeTable(100)
    add(table, tcp_records({"flags": CLOSED}))
    assert rows(table.finish()) == [KEY | {"closed": 1}]
    assert rows(table.finish()) == []


def test_nonsense_from_the_kernel_does_not_become_negative():
    table = EdgeTable(100)
    nonsense = {"retransmits": 2**32 - 1, "bytes_sent": 2**63 + 5}
    add(table, tcp_records(nonsense, nonsense | {"bytes_sent": 7}))
    columns = table.finish()
    assert all(columns.edges[name].min() >= 0 for name in ("retransmits", "bytes_sent"))


def test_a_recount_replaces_what_was_open():
    table = EdgeTable(100)
    add(table, tcp_records({"remote_port": 1, "flags": OPENED}))
    add(table, tcp_records({"remote_port": 2, "flags": OPENED}))
    table.finish()
    recount = tcp_records({"remote_port": 2}, {"remote_port": 3}, {"remote_port": 3})
    roles = recount["role"].astype(np.int64)
    new = table.restart_open(tcp_facts(recount, roles, socket_ids(recount)))
    assert new.tolist() == [1]
    assert {row["remote_port"]: row.get("open", 0) for row in rows(table.finish())} == {
        1: 0,
        2: 1,
        3: 2,
    }
    assert len(rows(table.finish())) == 2


def test_udp_sockets_are_open_in_the_window_that_sees_them():
    table = EdgeTable(100)
    peers = udp_records(
        {"cookie": 1, "role": 2, "local_port": 53, "remote_port": 1000},
        {"cookie": 1, "role": 2, "local_port": 53, "remote_port": 1001},
        {"cookie": 2, "role": 2, "local_port": 53, "remote_port": 1000},
    )
    table.add(udp_facts(*peers))
    (row,) = rows(table.finish())
    assert row["open"] == 2
    assert rows(table.finish()) == []


SOCKET = st.sampled_from(
    [
        {"cookie": 1, "remote_port": 1},
        {"cookie": 2, "remote_port": 1},
        {"cookie": 3, "remote_port": 2},
        {"cookie": 4, "local_port": 80, "role": 2},
        {"local_port": 80, "role": 2, "flags": OPENED | CLOSED},
        {"cookie": 0, "local_port": 50_000},
    ]
)
CHANGES = st.fixed_dictionaries(
    {
        "time_ns": st.integers(1, 3),
        "bytes_sent": st.integers(0, 10**6),
        "segments_received": st.integers(0, 9),
        "srtt_us": st.integers(0, 3),
        "min_rtt_us": st.integers(0, 9),
        "connect_us": st.integers(0, 9),
        "flags": st.sampled_from([0, OPENED, ADOPTED, FAILED]),
        "error": st.sampled_from([0, 111]),
    }
)
RECORD = st.builds(
    lambda socket, changes: changes | socket, SOCKET, CHANGES
)  # a closed socket has no other record


def described(columns):
    """Rows and their samples without regard to the order of rows."""
    kept = ["edge", "kind", "bucket", "count"]
    of_edge = {}
    for sample in samples(columns):
        of_edge.setdefault(sample[0], []).append(dict(zip(kept, sample, strict=True)))
    return sorted(
        (sorted(row.items()), [tuple(s.items())[1:] for s in of_edge.get(number, [])])
        for number, row in enumerate(rows(columns))
    )


@given(
    st.lists(RECORD, max_size=12),
    st.lists(st.integers(0, 12), max_size=4),
    st.randoms(),
)
def test_splitting_and_reordering_records_changes_nothing(records, cuts, random):
    for number, record in enumerate(records):
        record.setdefault("cookie", 100 + number)
    whole = EdgeTable(100)
    add(whole, tcp_records(*records))
    random.shuffle(records)
    parts = EdgeTable(100)
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 12], strict=True):
        add(parts, tcp_records(*records[start:stop]))
    assert described(parts.finish()) == described(whole.finish())


@given(st.lists(RECORD, max_size=12), st.integers(0, 12))
def test_two_windows_sum_to_one(records, cut):
    summed = ["bytes_sent", "packets_received", "opened", "connect_sum_us"]

    def totals(tables):
        result = {}
        for row in [row for columns in tables for row in rows(columns)]:
            key = row.get("local_port"), row.get("remote_port"), row["role"]
            for name in summed:
                if row.get(name):
                    result[key, name] = result.get((key, name), 0) + row[name]
        return result

    one, two = EdgeTable(100), EdgeTable(100)
    add(one, tcp_records(*records))
    add(two, tcp_records(*records[:cut]))
    first = two.finish()
    add(two, tcp_records(*records[cut:]))
    second, whole = two.finish(), one.finish()
    assert totals([first, second]) == totals([whole])
    assert sorted(row.get("open", 0) for row in rows(one.finish())) == sorted(
        row.get("open", 0) for row in rows(two.finish())
    )
