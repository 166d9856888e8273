"""Autonomous system and country of public addresses, from MaxMind-format files.

Each address is looked up once and remembered, up to a bound. A file of networks
(ASN), one of countries or cities, or one with both: what a record lacks stays unknown.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.addresses import is_mapped, is_public
from ebpf_net.reducer.keys import Int64, combine
from ebpf_net.reducer.lookups import NOBODY, Lookup, nobody

Record = Mapping[str, object]


class Database(Protocol):
    """What maxminddb opens."""

    def get(self, ip_address: str, /) -> object:
        """Return the record of an address, or None."""


class AutonomousSystems:
    """What databases tell of addresses; the first that knows a thing counts."""

    def __init__(
        self, databases: Sequence[Database] = (), max_addresses: int = 1_000_000
    ) -> None:
        self._databases = tuple(databases)
        self._max_addresses = max_addresses
        self._known: dict[tuple[str, str], int] = {}
        self._keys: Int64
        self._rows: Int64
        self._table = _table([])
        self._forget()

    def __bool__(self) -> bool:
        return bool(self._databases)

    def find(self, high: Int64, low: Int64) -> Int64:
        """Return the row of each address in ``table``, or NOBODY."""
        result = nobody(len(high))
        if not self._databases:
            return result
        public = np.flatnonzero(is_public(high, low))
        keys = combine(high[public], low[public])
        distinct, first = np.unique(keys, return_index=True)
        new = np.flatnonzero(self._lookup.find(distinct) < 0)
        if len(self._keys) + len(new) > self._max_addresses:
            self._forget()
            new = np.arange(len(distinct))
        if len(new):
            rows = public[first[new]]
            self._learn(distinct[new], high[rows], low[rows])
        result[public] = self._rows[self._lookup.find(keys)] if len(public) else 0
        return result

    @property
    def table(self) -> pa.Table:
        """Organisations and countries, as find() numbers them."""
        if self._table.num_rows != len(self._known):
            self._table = _table(list(self._known))
        return self._table

    def _learn(self, keys: Int64, high: Int64, low: Int64) -> None:
        rows = np.fromiter(
            (self._row(text) for text in _texts(high, low)), np.int64, len(keys)
        )
        self._keys = np.concatenate([self._keys, keys])
        self._rows = np.concatenate([self._rows, rows])
        self._lookup = Lookup(self._keys)

    def _row(self, address: str) -> int:
        organisation, country = "", ""
        for database in self._databases:
            record = database.get(address)
            if isinstance(record, Mapping):
                organisation = organisation or _organisation(record)
                country = country or _country(record)
        if not organisation and not country:
            return NOBODY
        return self._known.setdefault((organisation, country), len(self._known))

    def _forget(self) -> None:
        self._keys, self._rows = np.empty((2, 0), np.int64)
        self._lookup = Lookup(self._keys)


def _table(pairs: Sequence[tuple[str, str]]) -> pa.Table:
    return pa.table(
        {
            "organisation": pa.array([pair[0] for pair in pairs], pa.string()),
            "country": pa.array([pair[1] for pair in pairs], pa.string()),
        }
    )


def _organisation(record: Record) -> str:
    for key in ("autonomous_system_organization", "as_name"):
        if record.get(key):
            return str(record[key])
    for key, prefix in (("autonomous_system_number", "AS"), ("asn", "")):
        if record.get(key):
            return f"{prefix}{record[key]}"
    return ""


def _country(record: Record) -> str:
    for key in ("country", "registered_country"):
        country = record.get(key)
        if isinstance(country, Mapping) and country.get("iso_code"):
            return str(country["iso_code"])
    return str(record.get("country_code") or "")


def _texts(high: Int64, low: Int64) -> list[str]:
    packed = np.empty((len(high), 2), ">i8")
    packed[:, 0], packed[:, 1] = high, low
    data, mapped = packed.tobytes(), is_mapped(high, low).tolist()
    return [
        socket.inet_ntop(socket.AF_INET, data[at + 12 : at + 16])
        if is_ipv4
        else socket.inet_ntop(socket.AF_INET6, data[at : at + 16])
        for at, is_ipv4 in zip(range(0, len(data), 16), mapped, strict=True)
    ]
