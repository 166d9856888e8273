"""The tables of all clouds, each interface and address as it was told last.

Two collectors may tell of one account for a while. An interface's uid is unique
everywhere; who named an account later counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.reducer.keys import Int64
from ebpf_net.reducer.lookups import (
    Lookup,
    codes_among,
    is_blank,
    text_codes,
)
from ebpf_net.reducer.rows import int64_column
from ebpf_net.schema import REFERENCE_KEYS, Scope, tables_of

HOST_TABLES = ("cloud_instances", "cloud_instance_addresses")
CLOUD_TABLES = (*tables_of(Scope.CLOUD), *HOST_TABLES)


@dataclass(frozen=True)
class Clouds:
    """``tables`` are the ``cloud_*`` ones by the rest of their name, and ``networks``.

    That has the name of each VPC; ``network_of`` has its row for each row of others.
    """

    tables: Mapping[str, pa.Table]
    network_of: Mapping[str, Int64]
    owner: Int64  # the interface of each row of addresses

    def __getitem__(self, name: str) -> pa.Table:
        return self.tables[name]

    def __bool__(self) -> bool:
        return any(table.num_rows for table in self.tables.values())


def clouds_of(references: Mapping[str, pa.Table]) -> Clouds:
    """Put together what all sources tell."""
    accounts = references["cloud_accounts"]
    source = int64_column(accounts, "source")
    rank_of = Lookup(source[::-1], np.arange(len(source))[::-1])
    tables = {
        name.removeprefix("cloud_"): _last_told(
            references[name], REFERENCE_KEYS[name], rank_of
        )
        for name in ("cloud_interfaces", "cloud_addresses")
    }
    for name in HOST_TABLES:
        tables[name.removeprefix("cloud_")] = references[name].combine_chunks()
    names = _distinct([table["network"] for table in _with_networks(tables)])
    network_of = {
        name: codes_among(table["network"], names)
        for name, table in tables.items()
        if "network" in table.column_names
    }
    tables["networks"] = pa.table({"name": names})
    codes, uids = text_codes(tables["interfaces"]["interface_uid"])
    wanted = codes_among(tables["addresses"]["interface_uid"], uids)
    return Clouds(tables, network_of, Lookup(codes).find(wanted))


def instance_keys(interfaces: pa.Table) -> pa.ChunkedArray[Any]:
    """Return the key that ``instances`` has for each one's instance, or ""."""
    parts: list[Any] = [
        interfaces[name].combine_chunks() for name in ("provider", "instance_id")
    ]
    keys: Any = pc.binary_join_element_wise(*parts, "/")
    has_none = is_blank(interfaces["instance_id"])
    return pa.chunked_array([pc.if_else(pa.array(has_none), "", keys)])


def _with_networks(tables: Mapping[str, pa.Table]) -> list[pa.Table]:
    return [table for table in tables.values() if "network" in table.column_names]


def _distinct(columns: list[pa.ChunkedArray[Any]]) -> pa.StringArray:
    """Return the distinct texts of columns but "", in the order of the alphabet."""
    chunks = [chunk for column in columns for chunk in column.chunks]
    texts: Any = pc.unique(pa.chunked_array(chunks, pa.string()))
    texts = texts.filter(pc.not_equal(texts, pa.scalar("")))
    ordered: pa.StringArray = texts.take(pc.sort_indices(texts))
    return ordered


def _last_told(table: pa.Table, key: str, rank_of: Lookup) -> pa.Table:
    source = int64_column(table, "source")
    if len(np.unique(source)) > 1:
        rows = text_codes(table[key])[0]
        newest_first = np.argsort(-rank_of.find(source), kind="stable")
        chosen = newest_first[np.unique(rows[newest_first], return_index=True)[1]]
        chosen.sort()
        table = table.take(chosen)
    return table.combine_chunks()
