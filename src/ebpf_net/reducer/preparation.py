"""Preparation: from the batches of a window to rows that can be matched."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.ingest import Received, last_ends, source_key
from ebpf_net.reducer.keys import Bool, Int64, text_key
from ebpf_net.reducer.known import Known
from ebpf_net.reducer.matching import Circumstances, recent_endpoints
from ebpf_net.reducer.memory import Memory, find_ends
from ebpf_net.reducer.rows import (
    SAMPLES_SCHEMA,
    Rows,
    concat_rows,
    make_rows,
    with_scopes,
)
from ebpf_net.reducer.scopes import scopes_of
from ebpf_net.reducer.translation import Translated, translate


def collect_rows(received: tuple[Received, ...], boots: Mapping[int, int]) -> Rows:
    """Return the rows of all batches; ``boots`` has the key of each source's host.

    Sockets are open as a collector's last window says.
    """
    ends = last_ends(received)
    parts = []
    for one in received:
        header, tables = one.batch.header, one.batch.tables
        edges = tables.get("edges")
        if edges is None or not edges.num_rows:
            continue
        source = source_key(header)
        boot = boots.get(source, text_key("collector", header.collector))
        samples = tables.get("edge_samples", SAMPLES_SCHEMA.empty_table())
        rows = make_rows(edges, samples, source, boot)
        is_last = header.window_end_ns == ends[header.collector]
        parts.append(rows if is_last else rows.without_open())
    return concat_rows(parts)


def translate_rows(
    rows: Rows, translations: pa.Table, memory: Memory, now: Circumstances
) -> Translated:
    """Let the ends meet that hosts between them have translated."""
    if not translations.num_rows or not len(rows):
        return Translated(rows)
    served = rows.keys.far_endpoint[~rows.is_client]
    known = recent_endpoints(memory, now)

    def covered(endpoint: Int64) -> Bool:
        reported, _ = find_ends(known, endpoint, endpoint, now.live)
        return reported | np.isin(endpoint, served)

    return translate(rows, translations, covered)


def keep_clusters_apart(rows: Rows, known: Known) -> Rows:
    """Let rows of clusters that share addresses not be of one connection."""
    if not len(known.addresses.shared):
        return rows
    return with_scopes(rows, scopes_of(rows, known))
