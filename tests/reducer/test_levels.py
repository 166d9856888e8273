from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf_net.reducer.aggregation import Partial
from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.levels import (
    LEVEL_EDGES_SCHEMA,
    LEVEL_SAMPLES_SCHEMA,
    OVERFLOW,
    Limits,
    final,
)
from ebpf_net.reducer.resolve import NODES_SCHEMA
from ebpf_net.schema import LEVELS, Level
from ebpf_net.testing.windows import make_level

SAMPLES = pa.schema(
    [
        ("source", pa.int32()),
        ("dest", pa.int32()),
        ("protocol", pa.int8()),
        ("kind", pa.int8()),
        ("bucket", pa.int16()),
        ("count", pa.int64()),
    ]
)
ENGINE = Engine()

Edge = tuple[str, str, int]
"""Source and dest as workload/id, and bytes."""


def make_partial(edges: Sequence[Edge]) -> Partial:
    """One sample for each edge, in the bucket that is its bytes."""
    names = list(dict.fromkeys(name for edge in edges for name in edge[:2]))
    nodes = [
        dict(zip(("workload.name", "id"), name.split("/"), strict=True))
        for name in names
    ]
    rows = [
        {"source": names.index(source), "dest": names.index(dest), "bytes": size,
         "rtt_min_us": size}
        for source, dest, size in edges
    ]  # fmt: skip
    level = make_level(nodes, rows)
    samples = [
        {**row, "protocol": 6, "kind": 1, "bucket": row["bytes"], "count": 1}
        for row in rows
    ]
    nodes_table = level.nodes.cast(NODES_SCHEMA)
    return Partial(nodes_table, level.edges, pa.Table.from_pylist(samples, SAMPLES))


def named_edges(level: Level) -> list[Edge]:
    nodes = [
        f"{node['workload.name']}/{node['id']}" for node in level.nodes.to_pylist()
    ]
    return [
        (nodes[edge["source"]], nodes[edge["dest"]], edge["bytes"])
        for edge in level.edges.to_pylist()
    ]


@pytest.fixture
def partial() -> Iterator[Partial]:
    return make_partial([("a/1", "b/2", 5), ("a/3", "b/2", 7), ("b/2", "a/1", 1)])


def test_levels_leave_out_ids_at_their_az_sides(partial):
    levels = final(ENGINE, [partial], LEVELS)
    assert {name: named_edges(level) for name, level in levels.items()} == {
        "id_id": [("a/1", "b/2", 5), ("a/3", "b/2", 7), ("b/2", "a/1", 1)],
        "az_id": [("a/", "b/2", 12), ("b/", "a/1", 1)],
        "id_az": [("a/1", "b/", 5), ("a/3", "b/", 7), ("b/2", "a/", 1)],
        "az_az": [("a/", "b/", 12), ("b/", "a/", 1)],
    }


def test_tables_have_the_types_of_the_schema(partial):
    level = final(ENGINE, [partial], ["az_az"])["az_az"]
    assert level.edges.schema.equals(LEVEL_EDGES_SCHEMA)
    assert level.samples.schema.equals(LEVEL_SAMPLES_SCHEMA)


def test_extremes_are_merged_as_extremes(partial):
    edges = final(ENGINE, [partial, partial], ["az_az"])["az_az"].edges
    assert edges.column("rtt_min_us").to_pylist() == [5, 1]


def test_samples_point_at_their_edge_and_are_sorted(partial):
    samples = final(ENGINE, [partial, partial], ["az_az"])["az_az"].samples
    assert [
        (one["edge"], one["bucket"], one["count"]) for one in samples.to_pylist()
    ] == [
        (0, 5, 2),
        (0, 7, 2),
        (1, 1, 2),
    ]


def test_nothing_becomes_empty_tables():
    level = final(ENGINE, [make_partial([])], ["az_az"])["az_az"]
    assert (level.nodes.num_rows, level.edges.num_rows, level.samples.num_rows) == (
        0,
        0,
        0,
    )


def test_smallest_nodes_above_the_bound_become_one(partial):
    level = final(ENGINE, [partial], ["id_id"], Limits(nodes=2))["id_id"]
    other = f"{OVERFLOW}/"
    assert named_edges(level) == [(other, "b/2", 12), ("b/2", other, 1)]


names = st.sampled_from(["a/1", "a/2", "b/1", "b/2", "c/1"])
edge_lists = st.lists(st.tuples(names, names, st.integers(0, 9)), max_size=12)


@settings(deadline=None, max_examples=25)
@given(edge_lists, st.integers(0, 12), st.randoms(use_true_random=False))
def test_any_split_gives_the_same_levels(edges, at, random):
    whole = final(ENGINE, [make_partial(edges)], LEVELS)
    shuffled = random.sample(edges, len(edges))
    parts = [make_partial(shuffled[:at]), make_partial(shuffled[at:])]
    split = final(ENGINE, parts, LEVELS)
    assert split == whole


@settings(deadline=None, max_examples=25)
@given(edge_lists, st.integers(2, 4), st.integers(3, 6))
def test_bounds_keep_totals(edges, most_nodes, most_edges):
    limits = Limits(most_nodes, most_edges)
    level = final(ENGINE, [make_partial(edges)], ["id_id"], limits)["id_id"]
    sizes = Counter(size for _, _, size in edges)
    found = Counter()
    for sample in level.samples.to_pylist():
        found[sample["bucket"]] += sample["count"]
    assert found == sizes
    assert sum(size for _, _, size in named_edges(level)) == sum(sizes.elements())
    assert level.nodes.num_rows <= most_nodes
    assert level.edges.num_rows <= most_edges
