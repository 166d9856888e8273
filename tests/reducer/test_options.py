from __future__ import annotations

from ebpf_net.reducer.options import commit_of, edge_count
from ebpf_net.testing.tables import client_row, make_batch, make_header


def test_a_batch_is_committed_by_its_process_and_number():
    header = make_header(4, collector="a", incarnation="b")
    assert commit_of(make_batch(header=header)) == ("a", "b", 5)


def test_edges_of_a_batch_are_counted():
    assert edge_count(make_batch()) == 0
    assert edge_count(make_batch([client_row("10.0.0.1", "10.0.0.2", 80)] * 2)) == 2
