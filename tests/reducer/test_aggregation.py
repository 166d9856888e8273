from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ebpf_net.reducer.aggregation import Partial, partial
from ebpf_net.reducer.costs import Tolls
from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.enrichment import Located
from ebpf_net.reducer.rows import make_rows
from ebpf_net.schema import Derived, Protocol, Sample, ZoneRelation
from ebpf_net.testing.tables import Row, client_row, make_table, server_row
from ebpf_net.testing.windows import make_level

ENDS = ("10.0.0.1", "10.0.0.2", 80)
ENGINE = Engine()


def aggregate(
    *rows: Row,
    samples: Sequence[tuple[int, int, int, int]] = (),
    volume: bool = True,
    peer_reports: bool = True,
    tolls: Tolls | None = None,
) -> Partial:
    """All rows are from node 0 to node 1."""
    count = len(rows)
    described = [
        {"edge": edge, "kind": int(kind), "bucket": bucket, "count": number}
        for edge, kind, bucket, number in samples
    ]
    made = make_rows(
        make_table("edges", rows),
        make_table("edge_samples", described),
        source=1,
        boot=1,
    )
    own = {"id": "own", "availability_zone": "a"}
    peer = {"id": "peer", "resolution_type": "IP"}
    nodes = make_level([own, peer], []).nodes
    located = Located(np.zeros(count, np.int32), np.ones(count, np.int32), nodes)
    return partial(
        *(ENGINE, made, located, np.full(count, volume), np.full(count, peer_reports)),
        tolls,
    )


def edge(made: Partial, source: int) -> dict[str, int]:
    (row,) = (row for row in made.edges.to_pylist() if row["source"] == source)
    return {
        name: value
        for name, value in row.items()
        if value and name not in {"source", "dest", "protocol"}
    }


def test_rows_of_the_same_nodes_are_added_up():
    made = aggregate(
        client_row(*ENDS, bytes_sent=1, bytes_received=2, rtt_min_us=5, rtt_max_us=9),
        client_row(*ENDS, bytes_sent=3, bytes_received=4, rtt_min_us=0, rtt_max_us=8),
    )
    assert edge(made, 0) == {"bytes": 4, "rtt_min_us": 5, "rtt_max_us": 9}
    assert edge(made, 1) == {"bytes": 6}


def test_protocols_are_kept_apart():
    made = aggregate(client_row(*ENDS), client_row(*ENDS, protocol=int(Protocol.UDP)))
    assert made.edges.num_rows == 4


def test_row_without_volume_tells_only_its_own_facts():
    made = aggregate(
        server_row(
            *ENDS, bytes_sent=1, bytes_received=1, packets_sent=1, opened=1, closed=1,
            open=1, connect_failures=1, retransmits=2, resets_sent=3,
            resets_received=4, syn_timeouts=5, drops=6, rtt_count=7,
        ),
        volume=False,
    )  # fmt: skip
    assert edge(made, 0) == {
        "retransmits": 2,
        "resets": 3,
        "syn_timeouts": 5,
        "rtt_count": 7,
    }
    assert edge(made, 1) == {"drops": 6}


def test_resets_received_count_when_nobody_else_tells_them():
    made = aggregate(client_row(*ENDS, resets_received=4), peer_reports=False)
    assert edge(made, 1) == {"resets": 4}


def test_failed_connects_are_told_from_the_client():
    made = aggregate(
        server_row(*ENDS, connect_failures=2),
        samples=[(0, Sample.CONNECT_FAILURE, 1, 2)],
    )
    assert edge(made, 1) == {"connect_failures": 2}
    assert made.samples.column("source").to_pylist() == [1]


@pytest.mark.parametrize(
    ("kind", "source"),
    [(Sample.RTT, 0), (Sample.CONNECT_DURATION, 0), (Sample.DROP, 1)],
)
def test_samples_are_told_from_their_end(kind, source):
    made = aggregate(
        client_row(*ENDS), client_row(*ENDS), samples=[(0, kind, 1, 2), (1, kind, 1, 3)]
    )
    (sample,) = made.samples.to_pylist()
    assert (sample["source"], sample["bucket"], sample["count"]) == (source, 1, 5)


def test_sums_do_not_wrap_at_32_bits():
    made = aggregate(*[client_row(*ENDS, retransmits=2**31 - 1)] * 3)
    assert edge(made, 0) == {"retransmits": 3 * (2**31 - 1)}


def test_bytes_of_one_pair_are_told_by_where_they_go():
    made = aggregate(
        client_row("10.0.0.1", "10.0.0.2", 80, bytes_sent=1, bytes_received=2),
        client_row("10.0.0.1", "8.8.8.8", 80, bytes_sent=3, bytes_received=4),
        client_row("10.0.0.1", "8.8.4.4", 80, bytes_sent=5, bytes_received=0),
        tolls=Tolls(),
    )
    assert made.edges.num_rows == 2
    assert sorted(
        (row["source"], row["dest"], row["bucket"], row["count"])
        for row in made.samples.to_pylist()
        if row["kind"] == Derived.ZONE_BYTES and row["protocol"] == Protocol.TCP
    ) == [
        (0, 1, ZoneRelation.INTERNET, 8),
        (0, 1, ZoneRelation.UNKNOWN, 1),
        (1, 0, ZoneRelation.INTERNET, 4),
        (1, 0, ZoneRelation.UNKNOWN, 2),
    ]


def test_row_without_volume_tells_no_zones():
    row = client_row("10.0.0.1", "8.8.8.8", 80, bytes_sent=1)
    assert aggregate(row, volume=False, tolls=Tolls()).samples.num_rows == 0
