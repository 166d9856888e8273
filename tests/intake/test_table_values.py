import pytest

from ebpf_net.errors import BatchError
from ebpf_net.intake.table_values import (
    MAX_BUCKET,
    MAX_STRING_BYTES,
    MAX_SUM,
    MIN_BUCKET,
    check_values,
    keep_last_rows,
)
from ebpf_net.schema import ConnectFailure, Drop, Sample, timed_tables
from ebpf_net.testing.intake import make_table

EDGE = {"protocol": 6, "role": 1}


def tables(edges=(), samples=(), **more):
    return {
        "edges": make_table("edges", edges),
        "edge_samples": make_table("edge_samples", samples),
        **{name: make_table(name, ()) for name in timed_tables()},
        **{name: make_table(name, rows) for name, rows in more.items()},
    }


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"local_address_high": -1, "remote_address_low": -(2**63)},
        {"process_id": -5, "cgroup_id": -5},
        {"bytes_sent": MAX_SUM},
        {"local_port": 65_535, "role": 0, "protocol": 17},
    ],
)
def test_possible_edges_pass(change):
    check_values(tables([EDGE, {**EDGE, **change}]))


def test_addresses_of_any_port_and_protocol_pass():
    address = {"address_high": -1, "address_low": -1, "port": 0, "protocol": 0}
    check_values(tables(kubernetes_addresses=[address]))


@pytest.mark.parametrize("change", [{"from_ns": -1}, {"protocol": -1}, {"port": -1}])
def test_impossible_addresses_are_refused(change):
    with pytest.raises(BatchError, match=next(iter(change))):
        check_values(tables(kubernetes_addresses=[change]))


@pytest.mark.parametrize(
    "change",
    [
        {"bytes_sent": -1},
        {"packets_received": -1},
        {"open": -1},
        {"rtt_min_us": -1},
        {"netns": -1},
        {"local_port": 65_536},
        {"remote_port": -1},
        {"protocol": 1},
        {"protocol": 10},
        {"protocol": -128},
        {"role": 3},
        {"role": -1},
    ],
)
def test_impossible_edges_are_refused(change):
    with pytest.raises(BatchError, match=next(iter(change))) as caught:
        check_values(tables([EDGE, {**EDGE, **change}]))
    assert caught.value.reason == "values"


@pytest.mark.parametrize("column", ["bytes_sent", "packets_received", "rtt_sum_us"])
@pytest.mark.parametrize(
    "counts", [(2**63 - 1, 2**63 - 1), (MAX_SUM + 2, 0), (MAX_SUM, 2)]
)
def test_counters_that_no_window_has_room_for_are_refused(column, counts):
    with pytest.raises(BatchError, match=column):
        check_values(tables([{**EDGE, column: count} for count in counts]))


@pytest.mark.parametrize(("from_ns", "until_ns"), [(5, 0), (5, 5), (5, 6), (0, 0)])
def test_addresses_that_end_after_their_beginning_pass(from_ns, until_ns):
    address = {"from_ns": from_ns, "until_ns": until_ns}
    check_values(tables(kubernetes_addresses=[address]))


def test_an_address_that_ends_before_its_beginning_is_refused():
    good, bad = {"from_ns": 5}, {"from_ns": 5, "until_ns": 4}
    with pytest.raises(BatchError, match="until_ns has 4"):
        check_values(tables(kubernetes_addresses=[good, bad]))


@pytest.mark.parametrize(
    "sample",
    [
        {"kind": Sample.RTT, "bucket": MIN_BUCKET},
        {"kind": Sample.CONNECT_DURATION, "bucket": MAX_BUCKET},
        {"kind": Sample.CONNECT_FAILURE, "bucket": ConnectFailure.OTHER},
        {"kind": Sample.DROP, "bucket": Drop.RECEIVE_BUFFER},
    ],
)
def test_possible_samples_pass(sample):
    check_values(tables([EDGE], [{"count": 1, **sample}]))


@pytest.mark.parametrize(
    "sample",
    [
        {"kind": 1, "edge": 1},
        {"kind": 1, "edge": -1},
        {"kind": 0},
        {"kind": 5},
        {"kind": -1},
        {"kind": 1, "count": -1},
        {"kind": 1, "bucket": MAX_BUCKET + 1},
        {"kind": 2, "bucket": MIN_BUCKET - 1},
        {"kind": 3, "bucket": 0},
        {"kind": 3, "bucket": 8},
        {"kind": 4, "bucket": 5},
    ],
)
def test_impossible_samples_are_refused(sample):
    with pytest.raises(BatchError) as caught:
        check_values(tables([EDGE], [sample]))
    assert caught.value.reason == "values"


def test_samples_without_edges_are_refused():
    with pytest.raises(BatchError):
        check_values(tables([], [{"kind": 1}]))


def test_long_text_is_refused():
    check_values(tables(cgroups=[{"labels": "a" * MAX_STRING_BYTES}]))
    with pytest.raises(BatchError, match=r"cgroups\.labels"):
        check_values(tables(cgroups=[{"labels": "a" * (MAX_STRING_BYTES + 1)}]))


def test_later_row_of_a_key_replaces_the_earlier():
    rows = [(1, "a"), (2, "b"), (1, "c"), (3, "d"), (2, "e")]
    table = make_table(
        "processes", [{"process_id": key, "comm": comm} for key, comm in rows]
    )
    kept = keep_last_rows("processes", table)
    assert kept["comm"].to_pylist() == ["c", "d", "e"]
    assert kept.schema == table.schema


def test_rows_with_keys_of_their_own_are_all_kept():
    table = make_table("hosts", [{"host_id": "a"}, {"host_id": "b"}])
    assert keep_last_rows("hosts", table) is table
    edges = make_table("edges", [EDGE, EDGE])
    assert keep_last_rows("edges", edges) is edges
