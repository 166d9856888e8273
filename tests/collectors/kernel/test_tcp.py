import errno

import numpy as np
import pytest

from ebpf_net.collectors.kernel.edges import EdgeTable
from ebpf_net.collectors.kernel.tcp import socket_ids, tcp_facts
from ebpf_net.schema import ConnectFailure, Role, Sample
from ebpf_net.testing.kernel import tcp_records

FAILED, OPENED = 8, 1


def reduce(records):
    table = EdgeTable(100)
    roles = records["role"].astype(np.int64)
    table.add(tcp_facts(records, roles, socket_ids(records)))
    return table.finish()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ECONNREFUSED, ConnectFailure.REFUSED),
        (errno.ECONNRESET, ConnectFailure.RESET),
        (errno.ETIMEDOUT, ConnectFailure.TIMED_OUT),
        (errno.EHOSTUNREACH, ConnectFailure.HOST_UNREACHABLE),
        (errno.ENETUNREACH, ConnectFailure.NET_UNREACHABLE),
        (errno.EINTR, ConnectFailure.CANCELLED),
        (0, ConnectFailure.CANCELLED),
        (errno.EADDRNOTAVAIL, ConnectFailure.OTHER),
    ],
)
def test_a_failed_connect_is_counted_by_reason(number, reason):
    columns = reduce(tcp_records({"flags": FAILED, "error": number}))
    assert columns.edges["connect_failures"].tolist() == [1]
    assert columns.edges["open"].tolist() == [0]
    assert columns.samples["kind"].tolist() == [Sample.CONNECT_FAILURE]
    assert columns.samples["bucket"].tolist() == [reason]
    assert columns.samples["count"].tolist() == [1]


def test_connect_time_counts_for_the_opened_record_of_a_client():
    columns = reduce(
        tcp_records(
            {"flags": OPENED, "connect_us": 1_000_000},
            {"flags": 0, "connect_us": 77},
        )
    )
    assert columns.edges["connect_sum_us"].tolist() == [1_000_000]
    assert columns.edges["connect_count"].tolist() == [1]
    assert columns.samples["kind"].tolist() == [Sample.CONNECT_DURATION]
    assert columns.samples["bucket"].tolist() == [-1]


def test_a_request_adds_its_timeouts_to_the_edge_of_the_server():
    request = {"cookie": 0, "role": 2, "local_port": 80, "remote_port": 50_000}
    columns = reduce(
        tcp_records(
            request | {"flags": 16, "syn_timeouts": 1},
            request | {"flags": OPENED, "cookie": 9, "remote_port": 50_001},
        )
    )
    assert columns.edges["syn_timeouts"].tolist() == [1]
    assert columns.edges["opened"].tolist() == [1]
    assert columns.edges["local_port"].tolist() == [80]


def test_ipv6_addresses_are_two_signed_big_endian_halves():
    columns = reduce(
        tcp_records({"local_address": "fe80::1", "remote_address": "2001:db8::2"})
    )
    assert columns.edges["local_address_high"].tolist() == [(0xFE80 << 48) - 2**64]
    assert columns.edges["local_address_low"].tolist() == [1]
    assert columns.edges["remote_address_high"].tolist() == [0x20010DB8 << 32]
    assert columns.edges["remote_address_low"].tolist() == [2]


def test_counters_that_do_not_fit_stay_at_the_largest_value():
    columns = reduce(tcp_records({"retransmits": 2**32 - 1}))
    assert columns.edges["retransmits"].tolist() == [2**31 - 1]


def test_the_owner_is_zero_where_the_kernel_does_not_know_it():
    columns = reduce(tcp_records({"pid": 0, "role": Role.SERVER}))
    assert columns.edges["process_id"].tolist() == [0]
