"""A window of more edges than one batch may have, cut into parts."""

from __future__ import annotations

import numpy as np

from ebpf_net.collectors.kernel.edges import EdgeColumns

MAX_BATCH_ROWS = 200_000


def split_edges(columns: EdgeColumns, max_rows: int) -> list[EdgeColumns]:
    """Split into parts of at most ``max_rows`` edges, samples with their edges."""
    count = len(columns.edges["protocol"])
    if count <= max_rows:
        return [columns]
    parts = []
    owners = columns.samples["edge"]
    for start in range(0, count, max_rows):
        stop = min(start + max_rows, count)
        first, last = np.searchsorted(owners, [start, stop])
        samples = {name: column[first:last] for name, column in columns.samples.items()}
        samples["edge"] = samples["edge"] - np.int32(start)
        edges = {name: column[start:stop] for name, column in columns.edges.items()}
        parts.append(EdgeColumns(edges, samples))
    return parts
