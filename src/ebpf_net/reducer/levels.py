"""Levels: partial sums merged into what is exported, bounded and sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.aggregation import MERGED, Partial
from ebpf_net.reducer.ends import Int32
from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.enrichment import distinct_nodes, told_labels
from ebpf_net.reducer.keys import Bool, Int64
from ebpf_net.reducer.resolve import NODES_SCHEMA
from ebpf_net.reducer.rows import arrow_schema, int64_column, numpy_column
from ebpf_net.schema import AZ_LABELS, LEVEL_EDGES, LEVEL_SAMPLES, NODE_LABELS, Level

LEVEL_EDGES_SCHEMA = arrow_schema(LEVEL_EDGES)
LEVEL_SAMPLES_SCHEMA = arrow_schema(LEVEL_SAMPLES)
OVERFLOW = "(other)"
"""``workload.name`` of the end that stands for all ends above a bound."""

_MERGE = f"""
SELECT source, dest, {MERGED}, protocol FROM edges GROUP BY source, dest, protocol
"""


@dataclass(frozen=True)
class Limits:
    """Most nodes and edges of a level; what is above goes to one ``(other)`` end."""

    nodes: int = 200_000
    edges: int = 500_000


def final(
    engine: Engine,
    partials: Sequence[Partial],
    levels: Sequence[str],
    limits: Limits | None = None,
) -> dict[str, Level]:
    """Merge partials into the levels."""
    merged = _concat(partials)
    return {name: _level(engine, merged, name, limits or Limits()) for name in levels}


def _concat(partials: Sequence[Partial]) -> Partial:
    """Put partials together; their nodes are made one another's."""
    stacked = pa.concat_tables(
        [NODES_SCHEMA.empty_table(), *(part.nodes for part in partials)]
    )
    number, nodes = distinct_nodes(stacked)
    edges, samples, offset = [], [], 0
    for part in partials:
        place = number[offset : offset + part.nodes.num_rows]
        offset += part.nodes.num_rows
        edges.append(_replace_ends(part.edges, place))
        samples.append(_replace_ends(part.samples, place))
    return Partial(
        nodes,
        pa.concat_tables(edges),
        pa.concat_tables(samples),
        is_distinct=len(partials) == 1 and partials[0].is_distinct,
    )


def _replace_ends(table: pa.Table, number: Int32) -> pa.Table:
    for name in ("source", "dest"):
        old = numpy_column(table, name)
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pa.array(number[old].astype(np.int32)))
    return table


def _level(engine: Engine, merged: Partial, name: str, limits: Limits) -> Level:
    source_level, dest_level = name.split("_")
    blank = [label for label in NODE_LABELS if label not in AZ_LABELS]
    coarse = merged.nodes
    if coarse.num_rows:
        empty = pa.array([""]).take(np.zeros(coarse.num_rows, np.int8))
        for label in blank:
            at = coarse.schema.get_field_index(label)
            coarse = coarse.set_column(at, coarse.schema.field(at), empty)
    count = merged.nodes.num_rows
    number, nodes = distinct_nodes(
        pa.concat_tables([merged.nodes, coarse, _overflow_node()])
    )
    side = {"id": number[:count], "az": number[count : 2 * count]}
    ends = {"source": side[source_level], "dest": side[dest_level]}
    edges, samples = (
        _map_sides(table, ends) for table in (merged.edges, merged.samples)
    )
    if not merged.is_distinct or any(_repeats(end) for end in ends.values()):
        edges = engine.query(_MERGE, edges=edges)
    edges, samples, is_cut = _bound(edges, samples, int(number[-1]), limits)
    if is_cut:
        edges = engine.query(_MERGE, edges=edges)
    return _sorted_level(engine, nodes, edges, samples)


def _repeats(number: Int32) -> bool:
    return len(np.unique(number)) < len(number)


def _overflow_node() -> pa.Table:
    row = dict.fromkeys(NODE_LABELS, "") | {"workload.name": OVERFLOW}
    return pa.Table.from_pylist([row], schema=NODES_SCHEMA)


def _map_sides(table: pa.Table, ends: Mapping[str, Int32]) -> pa.Table:
    for name, number in ends.items():
        at = table.schema.get_field_index(name)
        mapped = number[numpy_column(table, name)].astype(np.int32)
        table = table.set_column(at, name, pa.array(mapped))
    return table


def _bound(
    edges: pa.Table, samples: pa.Table, other: int, limits: Limits
) -> tuple[pa.Table, pa.Table, bool]:
    """Send what is above the limits to one end; totals stay as they are."""
    source, dest = numpy_column(edges, "source"), numpy_column(edges, "dest")
    used = np.unique(np.concatenate([source, dest]))
    if len(used) <= limits.nodes and len(source) <= limits.edges:
        return edges, samples, False
    volume = numpy_column(edges, "bytes").astype(np.float64)
    size = int(used.max()) + 1
    weight = np.bincount(source.astype(np.intp), volume, size)
    weight += np.bincount(dest.astype(np.intp), volume, size)
    ranked = used[np.argsort(-weight[used], kind="stable")]
    number: Int32 = np.arange(max(size, other + 1), dtype=np.int32)
    number[ranked[limits.nodes - 1 :]] = other
    edges, samples = (
        _map_sides(table, {"source": number, "dest": number})
        for table in (edges, samples)
    )
    return _bound_edges(edges, samples, other, limits.edges)


def _bound_edges(
    edges: pa.Table, samples: pa.Table, other: int, limit: int
) -> tuple[pa.Table, pa.Table, bool]:
    pair = _pairs(edges)
    distinct, place = np.unique(pair, return_inverse=True)
    if len(distinct) > limit:
        volume = np.bincount(place, numpy_column(edges, "bytes").astype(np.float64))
        cut = np.zeros(len(distinct), bool)
        cut[np.argsort(-volume, kind="stable")[limit - 2 :]] = True
        edges = _to_other(edges, cut[place], other)
        gone = np.isin(_pairs(samples), distinct[cut])
        samples = _to_other(samples, gone, other)
    return edges, samples, True


def _pairs(table: pa.Table) -> Int64:
    source, dest = int64_column(table, "source"), int64_column(table, "dest")
    protocol = int64_column(table, "protocol")
    return (protocol << 56) | (source << 28) | dest


def _to_other(table: pa.Table, rows: Bool, other: int) -> pa.Table:
    for name in ("source", "dest"):
        at = table.schema.get_field_index(name)
        values = np.where(rows, other, numpy_column(table, name)).astype(np.int32)
        table = table.set_column(at, name, pa.array(values))
    return table


def _sorted_level(
    engine: Engine, nodes: pa.Table, edges: pa.Table, samples: pa.Table
) -> Level:
    source, dest = numpy_column(edges, "source"), numpy_column(edges, "dest")
    used = np.unique(np.concatenate([source, dest]))
    kept = nodes.take(used).combine_chunks()
    places = kept.append_column("place", pa.array(np.arange(kept.num_rows)))
    order = ", ".join(f'"{label}"' for label in told_labels(kept)) or "place"
    sort = f"SELECT place FROM nodes ORDER BY {order}"
    rank = int64_column(engine.query(sort, nodes=places), "place")
    number = np.zeros(int(used.max()) + 1 if len(used) else 0, np.int32)
    number[used[rank]] = np.arange(len(rank), dtype=np.int32)
    ends = {"source": number, "dest": number}
    edges, samples = _map_sides(edges, ends), _map_sides(samples, ends)
    edges = engine.query(
        "SELECT * FROM edges ORDER BY source, dest, protocol", edges=edges
    )
    numbered = edges.select(["source", "dest", "protocol"]).append_column(
        "edge", pa.array(np.arange(edges.num_rows, dtype=np.int32))
    )
    samples = engine.query(
        """
        SELECT e.edge, sum(s."count")::BIGINT AS "count", s.bucket, s.kind
        FROM samples s JOIN numbered e USING (source, dest, protocol)
        GROUP BY ALL ORDER BY e.edge, s.kind, s.bucket
        """,
        samples=samples,
        numbered=numbered,
    )
    return Level(
        kept.take(rank).cast(NODES_SCHEMA).combine_chunks(),
        edges.select(LEVEL_EDGES_SCHEMA.names)
        .cast(LEVEL_EDGES_SCHEMA)
        .combine_chunks(),
        samples.select(LEVEL_SAMPLES_SCHEMA.names)
        .cast(LEVEL_SAMPLES_SCHEMA)
        .combine_chunks(),
    )
