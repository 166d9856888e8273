import numpy as np

from ebpf_net.collectors.kernel.edge_parts import split_edges
from ebpf_net.collectors.kernel.edges import EdgeColumns
from ebpf_net.schema import EDGE_SAMPLES, EDGES


def numeric(columns, length):
    return {name: np.arange(length).astype(type_name) for name, type_name in columns}


def test_splitting_keeps_samples_with_their_edges():
    samples = {
        "edge": np.array([0, 1, 1, 2, 4], np.int32),
        "count": np.array([1, 2, 3, 4, 5], np.int32),
        "bucket": np.zeros(5, np.int16),
        "kind": np.ones(5, np.int8),
    }
    parts = split_edges(EdgeColumns(numeric(EDGES, 5), samples), max_rows=2)
    assert [part.edges["open"].tolist() for part in parts] == [[0, 1], [2, 3], [4]]
    assert [part.samples["edge"].tolist() for part in parts] == [[0, 1, 1], [0], [0]]
    assert [part.samples["count"].tolist() for part in parts] == [[1, 2, 3], [4], [5]]


def test_a_small_window_is_one_part():
    columns = EdgeColumns(numeric(EDGES, 0), numeric(EDGE_SAMPLES, 0))
    assert split_edges(columns, max_rows=2) == [columns]
