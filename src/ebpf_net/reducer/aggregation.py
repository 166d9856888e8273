"""Aggregation: sums over (source, dest, protocol), in two algebraic steps.

``partial`` may run anywhere over any part of the rows; ``final`` merges partials into
the levels of a window. Rows carry integers only, labels are attached to the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.costs import Tolls, directions
from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.enrichment import Located
from ebpf_net.reducer.keys import Bool, Int64
from ebpf_net.reducer.rows import Rows, int64_column, numpy_column
from ebpf_net.schema import (
    LEVEL_EDGES,
    Sample,
)

_SUMMED = (
    "bytes_sent", "bytes_received", "packets_sent", "packets_received", "rtt_sum_us",
    "connect_sum_us", "retransmits", "resets_sent", "resets_received", "syn_timeouts",
    "opened", "closed", "open", "connect_failures", "drops", "rtt_count",
    "connect_count",
)  # fmt: skip
_INTERNET, _IS_CLIENT, _VOLUME, _PEER_REPORTS = 8, 4, 2, 1

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
MERGED = ", ".join(
    f"({_EXTREMES.get(name, f'sum({name})')})::BIGINT AS {name}" for name in _MEASURES
)
_MERGE_DIRECTED = f"""{_DIRECTED}
SELECT source, dest, {MERGED}, protocol FROM directed GROUP BY source, dest, protocol
"""
_COUNT_SAMPLES = """
SELECT source, dest, protocol, kind, bucket, sum("count")::BIGINT AS "count"
FROM samples GROUP BY ALL
"""


@dataclass(frozen=True)
class Partial:
    """What some of a window's rows add up to.

    ``edges`` is LEVEL_EDGES at the finest level, ``samples`` has source, dest,
    protocol, kind, bucket and count; source and dest are rows of ``nodes``.
    """

    nodes: pa.Table
    edges: pa.Table
    samples: pa.Table
    is_distinct: bool = False  # no two edges have the same ends and protocol


def partial(
    engine: Engine,
    rows: Rows,
    located: Located,
    volume: Bool,
    peer_reports: Bool,
    tolls: Tolls | None = None,
) -> Partial:
    """Add up rows. ``volume`` and ``peer_reports`` are as in matching.Matched.

    With ``tolls`` the samples tell zones and costs, too.
    """
    what = (
        rows.is_client.astype(np.int8) * _IS_CLIENT
        + volume.astype(np.int8) * _VOLUME
        + peer_reports.astype(np.int8) * _PEER_REPORTS
    )
    places = tolls.places(located.nodes) if tolls else None
    if places:
        what += places.internet(rows, located.peer).astype(np.int8) * _INTERNET
    wide = rows.edges.select([*_SUMMED, "rtt_min_us", "rtt_max_us", "protocol"])
    for name, values in (("own", located.own), ("peer", located.peer), ("what", what)):
        wide = wide.append_column(name, pa.array(values))
    groups = engine.query(_GROUP, rows=wide)
    edges = engine.query(_MERGE_DIRECTED, groups=groups)
    samples = engine.query(
        _COUNT_SAMPLES, samples=_directed_samples(rows, located, volume)
    )
    if tolls and places:
        kinds = int64_column(groups, "what")
        traffic = directions(groups, kinds & _VOLUME != 0, kinds & _INTERNET != 0)
        made = tolls.samples(traffic, located.nodes, places)
        samples = pa.concat_tables(
            [samples, *(_sample_table(columns, samples.schema) for columns in made)]
        )
    return Partial(located.nodes, edges, samples, is_distinct=True)


def _sample_table(columns: Mapping[str, Int64], schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


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
