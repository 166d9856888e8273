"""The Kubernetes tables of all clusters, each row with the number of its cluster.

A cluster is told of by the source that named it last. What another told before is kept
as long as its rows are, for what the new one does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.keys import Int64, combine
from ebpf_net.reducer.lookups import (
    NOBODY,
    Lookup,
    codes_among,
    is_blank,
    nobody,
    only_one,
    text_codes,
)
from ebpf_net.reducer.rows import int64_column
from ebpf_net.schema import REFERENCE_KEYS, Scope, tables_of


@dataclass(frozen=True)
class Clusters:
    """``tables`` are the ``kubernetes_*`` ones by the rest of their name.

    Each has the column ``cluster``: a row number of ``tables["clusters"]``.
    """

    tables: Mapping[str, pa.Table]
    _rows_by: dict[tuple[str, str], InClusters] = field(default_factory=dict)

    def __getitem__(self, name: str) -> pa.Table:
        return self.tables[name]

    def __bool__(self) -> bool:
        return bool(self.tables["clusters"].num_rows)

    def of(self, name: str) -> Int64:
        """Return the cluster of each row of a table."""
        return int64_column(self.tables[name], "cluster")

    def rows_by(self, name: str, column: str) -> InClusters:
        """Return the rows of a table by a text of theirs."""
        key = name, column
        if key not in self._rows_by:
            self._rows_by[key] = InClusters(self.of(name), self.tables[name][column])
        return self._rows_by[key]


def clusters_of(references: Mapping[str, pa.Table]) -> Clusters:
    """Put together what all sources tell of each cluster."""
    named = references["kubernetes_clusters"]
    source = int64_column(named, "source")
    number, texts = text_codes(named["cluster_uid"])
    # The last row of a source counts, and of a cluster.
    number_of = Lookup(source[::-1], number[::-1])
    rank_of = Lookup(source[::-1], np.arange(len(source))[::-1])
    tables = {
        name.removeprefix("kubernetes_"): _of_clusters(
            references[name], REFERENCE_KEYS[name], number_of, rank_of
        )
        for name in tables_of(Scope.CLUSTER)
        if name != Scope.CLUSTER.value
    }
    last = np.zeros(len(texts), np.int64)
    last[number] = np.arange(len(number))
    tables["clusters"] = _numbered(named.take(last), np.arange(len(texts)))
    return Clusters(tables)


def _of_clusters(
    table: pa.Table, key: str, number_of: Lookup, rank_of: Lookup
) -> pa.Table:
    source = int64_column(table, "source")
    number = number_of.find(source)
    if (number == NOBODY).any():
        kept = number != NOBODY
        table, number, source = table.filter(pa.array(kept)), number[kept], source[kept]
    if len(np.unique(source)) > 1:
        rows = combine(number, text_codes(table.column(key))[0])
        newest_first = np.argsort(-rank_of.find(source), kind="stable")
        chosen = newest_first[np.unique(rows[newest_first], return_index=True)[1]]
        chosen.sort()
        table, number = table.take(chosen), number[chosen]
    return _numbered(table, number)


def _numbered(table: pa.Table, number: Int64) -> pa.Table:
    return table.combine_chunks().append_column("cluster", pa.array(number))


class InClusters:
    """Rows by a text that is theirs within a cluster, such as a uid.

    Asked from outside any cluster, or for what one's own cluster does not have, it
    answers if only one cluster has it.
    """

    def __init__(self, cluster: Int64, column: pa.ChunkedArray[Any]) -> None:
        codes, self._texts = text_codes(column)
        rows = np.flatnonzero(~is_blank(column))[
            ::-1
        ]  # of equal ones the last row counts
        cluster, codes = cluster[rows], codes[rows]
        self._within = Lookup(combine(cluster, codes), rows)
        unique = only_one(codes, cluster)
        self._anywhere = Lookup(codes[unique], rows[unique])

    def find(self, cluster: Int64, column: pa.ChunkedArray[Any]) -> Int64:
        """Return the row of each text, as seen from a cluster; or NOBODY."""
        codes = codes_among(column, self._texts)
        if not (codes >= 0).any():
            return nobody(len(codes))
        found = self._within.find(combine(cluster, codes))
        return np.where(found >= 0, found, self._anywhere.find(codes))

    def find_within(self, cluster: Int64, column: pa.ChunkedArray[Any]) -> Int64:
        """Return the row of each text in this cluster, or NOBODY."""
        return self._within.find(combine(cluster, codes_among(column, self._texts)))
