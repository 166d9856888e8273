"""Aggregation: sums over (source, dest, protocol), in two algebraic steps.

``partial`` may run anywhere over any part of the rows; ``final`` merges partials into
the levels of a window. Rows carry integers only, labels are attached to the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.enrichment import NODES_SCHEMA, Located, distinct_nodes
from ebpf_net.reducer.keys import Bool, Int64
from ebpf_net.reducer.rows import Rows, arrow_schema, int64_column, numpy_column
from ebpf_net.schema import (
    AZ_LABELS,
    LEVEL_EDGES,
    LEVEL_SAMPLES,
    NODE_LABELS,
    Level,
    Sample,
)

LEVEL_EDGES_SCHEMA = arrow_schema(LEVEL_EDGES)
LEVEL_SAMPLES_SCHEMA = arrow_schema(LEVEL_SAMPLES)
OVERFLOW = "(other)"
"""``workload.name`` of the end that stands for all ends above a bound."""

_SUMMED = (
    "bytes_sent", "bytes_received", "packets_sent", "packets_received", "rtt_sum_us",
    "connect_sum_us", "retransmits", "resets_sent", "resets_received", "syn_timeouts",
    "opened", "closed", "open", "connect_failures", "drops", "rtt_count",
    "connect_count",
)  # fmt: skip
_IS_CLIENT, _VOLUME, _PEER_REPORTS = 4, 2, 1

_GROUP = f"""
SELECT own, peer, protocol, what,
    {", ".join(f"sum({column})::BIGINT AS {column}" for column in _SUMMED)},
    coalesce(min(nullif(rtt_min_us, 0)), 0)::BIGINT AS rtt_min_us,
    max(rtt_max_us)::BIGINT AS rtt_max_us
FROM rows
GROUP BY own, peer, protocol, what
"""

# Both directions of each group. What an end counts of itself it tells for the direction
# from it; volume is told for both, as far as this end's row decides over it.
_DIRECTED = f"""
WITH known AS (
    SELECT *, what & {_IS_CLIENT} <> 0 AS is_client, what & {_VOLUME} <> 0 AS volume,
        what & {_PEER_REPORTS} <> 0 AS peer_reports
    FROM groups
), directed AS (
    SELECT own AS source, peer AS dest, protocol,
        CASE WHEN volume THEN bytes_sent ELSE 0 END AS bytes,
        CASE WHEN volume THEN packets_sent ELSE 0 END AS packets,
        retransmits, resets_sent AS resets, syn_timeouts,
        CASE WHEN volume THEN opened ELSE 0 END AS opened,
        CASE WHEN volume THEN closed ELSE 0 END AS closed,
        CASE WHEN volume THEN open ELSE 0 END AS open,
        CASE WHEN is_client THEN connect_failures ELSE 0 END AS connect_failures,
        0 AS drops, rtt_count, rtt_sum_us, rtt_min_us, rtt_max_us,
        CASE WHEN is_client THEN connect_count ELSE 0 END AS connect_count,
        CASE WHEN is_client THEN connect_sum_us ELSE 0 END AS connect_sum_us
    FROM known
    UNION ALL
    SELECT peer, own, protocol,
        CASE WHEN volume THEN bytes_received ELSE 0 END,
        CASE WHEN volume THEN packets_received ELSE 0 END,
        0, CASE WHEN peer_reports THEN 0 ELSE resets_received END, 0,
        CASE WHEN volume THEN opened ELSE 0 END,
        CASE WHEN volume THEN closed ELSE 0 END,
        CASE WHEN volume THEN open ELSE 0 END,
        CASE WHEN volume AND NOT is_client THEN connect_failures ELSE 0 END,
        drops, 0, 0, 0, 0, 0, 0
    FROM known
)
"""

_MEASURES = tuple(
    name for name, _ in LEVEL_EDGES if name not in ("source", "dest", "protocol")
)
_EXTREMES = {
    "rtt_min_us": "coalesce(min(nullif(rtt_min_us, 0)), 0)",
    "rtt_max_us": "max(rtt_max_us)",
}
_MERGED = ", ".join(
    f"({_EXTREMES.get(name, f'sum({name})')})::BIGINT AS {name}" for name in _MEASURES
)
_MERGE_DIRECTED = f"""{_DIRECTED}
SELECT source, dest, {_MERGED}, protocol FROM directed GROUP BY source, dest, protocol
"""
_COUNT_SAMPLES = """
SELECT source, dest, protocol, kind, bucket, sum("count")::BIGINT AS "count"
FROM samples GROUP BY ALL
"""


_SORT_NODES = "SELECT place FROM nodes ORDER BY " + ", ".join(
    f'"{label}"' for label in NODE_LABELS
)


@dataclass(frozen=True)
class Partial:
    """What some of a window's rows add up to.

    ``edges`` is LEVEL_EDGES at the finest level, ``samples`` has source, dest,
    protocol, kind, bucket and count; source and dest are rows of ``nodes``.
    """

    nodes: pa.Table
    edges: pa.Table
    samples: pa.Table


@dataclass(frozen=True)
class Limits:
    """Most nodes and edges of a level; what is above goes to one ``(other)`` end."""

    nodes: int = 200_000
    edges: int = 500_000


def partial(
    engine: Engine, rows: Rows, located: Located, volume: Bool, peer_reports: Bool
) -> Partial:
    """Add up rows. ``volume`` and ``peer_reports`` are as in matching.Matched."""
    what = (
        rows.is_client.astype(np.int8) * _IS_CLIENT
        + volume.astype(np.int8) * _VOLUME
        + peer_reports.astype(np.int8) * _PEER_REPORTS
    )
    wide = rows.edges.select([*_SUMMED, "rtt_min_us", "rtt_max_us", "protocol"])
    for name, values in (("own", located.own), ("peer", located.peer), ("what", what)):
        wide = wide.append_column(name, pa.array(values))
    groups = engine.query(_GROUP, rows=wide)
    edges = engine.query(_MERGE_DIRECTED, groups=groups)
    samples = engine.query(
        _COUNT_SAMPLES, samples=_directed_samples(rows, located, volume)
    )
    return Partial(located.nodes, edges, samples)


def _directed_samples(rows: Rows, located: Located, volume: Bool) -> pa.Table:
    samples = rows.samples
    edge = int64_column(samples, "edge")
    kind = numpy_column(samples, "kind")
    client = rows.is_client[edge]
    # A failure is told from the client, a drop from the sender of what was dropped.
    backwards = (kind == Sample.DROP) | ((kind == Sample.CONNECT_FAILURE) & ~client)
    own, peer = located.own[edge], located.peer[edge]
    table = pa.table(
        {
            "source": np.where(backwards, peer, own),
            "dest": np.where(backwards, own, peer),
            "protocol": rows.column("protocol")[edge],
            "kind": samples.column("kind"),
            "bucket": samples.column("bucket"),
            "count": samples.column("count"),
        }
    )
    told = client | (kind == Sample.RTT) | (kind == Sample.DROP)
    told |= (kind == Sample.CONNECT_FAILURE) & volume[edge]
    return table if told.all() else table.filter(pa.array(told))


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
    return Partial(nodes, pa.concat_tables(edges), pa.concat_tables(samples))


def _replace_ends(table: pa.Table, number: np.ndarray) -> pa.Table:
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
    edges = engine.query(
        f"SELECT source, dest, {_MERGED}, protocol FROM edges "
        "GROUP BY source, dest, protocol",
        edges=edges,
    )
    edges, samples, merge = _bound(edges, samples, int(number[-1]), limits)
    if merge:
        edges = engine.query(
            f"SELECT source, dest, {_MERGED}, protocol FROM edges "
            "GROUP BY source, dest, protocol",
            edges=edges,
        )
    return _sorted_level(engine, nodes, edges, samples)


def _overflow_node() -> pa.Table:
    row = dict.fromkeys(NODE_LABELS, "") | {"workload.name": OVERFLOW}
    return pa.Table.from_pylist([row], schema=NODES_SCHEMA)


def _map_sides(table: pa.Table, ends: Mapping[str, np.ndarray]) -> pa.Table:
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
    weight = np.bincount(source, volume, size) + np.bincount(dest, volume, size)
    ranked = used[np.argsort(-weight[used], kind="stable")]
    number = np.arange(max(size, other + 1))
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
        cut[np.argsort(-volume, kind="stable")[limit - 1 :]] = True
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
    rank = int64_column(engine.query(_SORT_NODES, nodes=places), "place")
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
