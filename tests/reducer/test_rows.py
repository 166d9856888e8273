from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.rows import (
    EDGES_SCHEMA,
    Rows,
    concat_rows,
    conform_rows,
    make_rows,
    no_rows,
)
from ebpf_net.schema import Sample
from ebpf_net.testing.tables import client_row, make_table, server_row


def rows_with_samples(*sizes: int) -> Rows:
    edges = [
        client_row("10.0.0.1", "10.0.0.2", 80 + size, bytes_sent=size) for size in sizes
    ]
    samples = [
        {"edge": number, "kind": int(Sample.RTT), "bucket": size, "count": 1}
        for number, size in enumerate(sizes)
    ]
    return make_rows(
        make_table("edges", edges), make_table("edge_samples", samples), 1, 2
    )


def sizes_of_samples(rows: Rows) -> list[tuple[int, int]]:
    sizes = rows.int64("bytes_sent")
    return [
        (int(sizes[sample["edge"]]), sample["bucket"])
        for sample in rows.samples.to_pylist()
    ]


def test_samples_stay_with_their_rows():
    rows = concat_rows([rows_with_samples(1, 2), rows_with_samples(3), no_rows()])
    assert sizes_of_samples(rows) == [(1, 1), (2, 2), (3, 3)]
    taken = rows.take(np.array([False, True, True]))
    assert sizes_of_samples(taken) == [(2, 2), (3, 3)]
    assert taken.source.tolist() == [1, 1]


def test_rows_without_open_join_others_of_a_stream_that_allows_nulls():
    rows = rows_with_samples(1, 2)
    nullable = pa.schema([field.with_nullable(True) for field in rows.edges.schema])
    sent = replace(rows, edges=rows.edges.cast(nullable))
    joined = concat_rows([sent.without_open(), sent])
    assert joined.int64("open").tolist() == [0, 0, *rows.int64("open").tolist()]


def test_nothing_taken_is_no_rows():
    rows = rows_with_samples(1).take(np.array([False]))
    assert len(rows) == 0
    assert rows.samples.num_rows == 0


def test_ends_are_turned_to_client_and_server():
    edges = [
        client_row("10.0.0.1", "10.0.0.2", 80),
        server_row("10.0.0.1", "10.0.0.2", 80),
    ]
    rows = make_rows(make_table("edges", edges), make_table("edge_samples", []), 1, 2)
    assert rows.is_client.tolist() == [True, False]
    assert rows.server_port.tolist() == [80, 80]
    assert len(set(rows.addresses.client_low.tolist())) == 1
    assert len(set(rows.keys.near.tolist())) == 1


def test_any_volume_is_movement():
    counted = ("bytes_received", "packets_sent", "packets_received", "opened", "closed")
    edges = [client_row("10.0.0.1", "10.0.0.2", 80, **{name: 1}) for name in counted]
    edges.append(client_row("10.0.0.1", "10.0.0.2", 80, open=1, rtt_count=1))
    rows = make_rows(make_table("edges", edges), make_table("edge_samples", []), 1, 1)
    assert rows.moved.tolist() == [True] * len(counted) + [False]


def test_rows_of_a_version_with_other_columns_are_as_this_one_has_them():
    rows = make_rows(
        make_table("edges", [client_row("10.0.0.1", "10.0.0.2", 80, bytes_sent=5)]),
        make_table("edge_samples", []),
        source=1,
        boot=2,
    )
    assert conform_rows(rows) is rows
    edges = rows.edges.drop_columns(["scope"]).append_column("gone", pa.array([1]))
    conformed = conform_rows(replace(rows, edges=edges))
    assert conformed.edges.schema.types == EDGES_SCHEMA.types
    assert conformed.edges.column_names == EDGES_SCHEMA.names
    assert conformed.int64("bytes_sent").tolist() == [5]
    assert conformed.int64("scope").tolist() == [0]
