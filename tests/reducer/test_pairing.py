from __future__ import annotations

import numpy as np
import pytest

from ebpf_net.reducer.keys import text_key
from ebpf_net.reducer.pairing import group_endpoints, pair_rows
from ebpf_net.reducer.rows import Rows, concat_rows, make_rows
from ebpf_net.testing.tables import Row, client_row, make_table, server_row

EDGE = ("10.0.0.1", "10.0.0.2", 80)
NO_SAMPLES = make_table("edge_samples", [])


def rows_of(host: str, *rows: Row) -> Rows:
    key = text_key(host)
    return make_rows(make_table("edges", rows), NO_SAMPLES, key, key)


def peers(rows: Rows) -> list[int]:
    """The row that stands for the other end of each row."""
    client_rows, server_rows = (
        np.flatnonzero(rows.is_client),
        np.flatnonzero(~rows.is_client),
    )
    tie = rows.int64("process_id")
    sides = pair_rows(rows, client_rows, server_rows, tie)
    clients, servers, pairs = sides.clients, sides.servers, sides.pairs
    result = np.full(len(rows), -1)
    result[client_rows] = pairs.server_of_client[clients.of]
    result[server_rows] = pairs.client_of_server[servers.of]
    return result.tolist()


def test_ends_on_two_hosts_pair():
    rows = [rows_of("a", client_row(*EDGE)), rows_of("b", server_row(*EDGE))]
    assert peers(concat_rows(rows)) == [1, 0]


def test_same_addresses_on_two_hosts_pair_on_their_own_host():
    rows = [
        rows_of("a", client_row(*EDGE), server_row(*EDGE)),
        rows_of("b", client_row(*EDGE), server_row(*EDGE)),
    ]
    assert peers(concat_rows(rows)) == [1, 0, 3, 2]


def test_what_is_left_on_its_own_host_pairs_across_hosts():
    rows = [
        rows_of("a", client_row(*EDGE), server_row(*EDGE)),
        rows_of("b", client_row(*EDGE)),
        rows_of("c", server_row(*EDGE)),
    ]
    assert peers(concat_rows(rows)) == [1, 0, 3, 2]


@pytest.mark.parametrize("busiest", [1, 2])
def test_busiest_row_stands_for_its_end(busiest):
    sizes = {busiest: 9}
    rows = [
        rows_of("a", client_row(*EDGE)),
        rows_of(
            "b",
            server_row(*EDGE, process_id=1, bytes_sent=sizes.get(1, 0)),
            server_row(*EDGE, process_id=2, bytes_sent=sizes.get(2, 0)),
        ),
    ]
    assert peers(concat_rows(rows)) == [busiest, 0, 0]


@pytest.mark.parametrize("processes", [(1, 2), (2, 1)])
def test_order_of_equal_rows_does_not_matter(processes):
    rows = [
        rows_of("a", client_row(*EDGE)),
        rows_of("b", *(server_row(*EDGE, process_id=one) for one in processes)),
    ]
    assert peers(concat_rows(rows))[0] == 1 + processes.index(2)


def test_endpoint_is_the_same_for_all_its_clients():
    rows = rows_of(
        "b", server_row("10.0.0.1", "10.0.0.2", 80), server_row("10.0.0.9", *EDGE[1:])
    )
    groups = group_endpoints(rows, np.arange(2), np.zeros(2, np.int64))
    assert len(groups.near) == 1
