from __future__ import annotations

from ebpf_net.reducer.ingest import Received, source_key
from ebpf_net.reducer.preparation import collect_rows
from ebpf_net.testing.tables import (
    WINDOW_NS,
    client_row,
    make_batch,
    make_header,
)


def received(*rows: dict, **header: object) -> Received:
    batch = make_batch(rows, header=make_header(0, **header))
    return Received(batch, 0, 0)


def test_rows_of_all_collectors_are_one_table_with_their_hosts():
    row = client_row("10.0.0.1", "10.0.0.2", 80)
    told = (received(row, collector="a"), received(row, row, collector="b"))
    a, b = (source_key(one.batch.header) for one in told)
    rows = collect_rows(told, {a: 7})
    assert rows.source.tolist() == [a, b, b]
    assert rows.boot.tolist()[0] == 7
    assert rows.boot[1] == rows.boot[2] != 7


def test_sockets_are_open_as_the_last_window_says():
    row = client_row("10.0.0.1", "10.0.0.2", 80, open=3)
    start = make_header(0).window_start_ns
    early = received(row, window_end_ns=start + WINDOW_NS // 2)
    rows = collect_rows((early, received(row)), {})
    assert rows.int64("open").tolist() == [0, 3]


def test_nothing_is_no_rows():
    assert len(collect_rows((received(),), {})) == 0
