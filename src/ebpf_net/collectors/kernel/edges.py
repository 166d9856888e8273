"""The edges of the window that is open, and of all sockets that are.

Memory is bounded: what finds no room is counted on an overflow edge, one for each own
address, network namespace and server's port, with the other end's address zero. That is
what the reducer needs to tell what of it the other ends have told, too. Where even
these are too many, there is one for each protocol and role. How often either happened
is told by ``overflowed_records``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.edge_facts import (
    KEY_COLUMNS,
    EdgeFacts,
    Int64s,
    unpack_ends,
)
from ebpf_net.collectors.kernel.key_index import Hashes, KeyIndex, hash_columns
from ebpf_net.collectors.kernel.rtt_samples import RttSamples
from ebpf_net.collectors.kernel.sample_counts import (
    SampleCounts,
    duration_buckets,
    sample_codes,
)
from ebpf_net.schema import EDGES, Protocol, Role, Sample

Columns = dict[str, npt.NDArray[Any]]
_PACKED = ("local_port", "remote_port", "protocol", "role")
_VALUES = tuple(
    (name, np.dtype(type_name))
    for name, type_name in EDGES
    if name not in KEY_COLUMNS and name not in _PACKED
)
_KIND_MASK = 0xFFFF  # protocol and role of ``ends``
_LOCAL_PORT, _REMOTE_PORT = 0xFFFF << 32, 0xFFFF << 16  # of ``ends``
_NO_MINIMUM = np.iinfo(np.int32).max
_FIRST_CAPACITY = 1024
_MOST = {4: 2**31 - 1, 8: 2**48}  # of a value; the intake refuses larger sums
_MAX_OVERFLOW_EDGES = 1024
_LOCAL, _REMOTE = slice(0, 2), slice(2, 4)  # of a key: the halves of addresses
_NETNS = KEY_COLUMNS.index("netns")


@dataclass(frozen=True)
class EdgeColumns:
    """Columns of ``schema.EDGES`` and ``schema.EDGE_SAMPLES``."""

    edges: Columns
    samples: Columns


class EdgeTable:
    """Sums by edge for one window after another; ``open`` goes on over windows."""

    def __init__(self, max_edges: int) -> None:
        self._max_edges = max_edges
        self.overflowed_records = 0
        """Records counted on an overflow edge since the start."""
        self._start(0)

    def __len__(self) -> int:
        return len(self._index)

    def add(self, facts: EdgeFacts) -> Int64s:
        """Add records; return positions of one record for each edge that is new."""
        rows, new = self._rows_of(facts)
        for name, values in facts.sums.items():
            np.add.at(self._values[name], rows, values)
        if facts.rtt_min_us is not None:
            sampled = np.flatnonzero(facts.rtt_min_us)
            minima = self._values["rtt_min_us"]
            np.minimum.at(minima, rows[sampled], facts.rtt_min_us[sampled])
        for sample in facts.samples:
            rows_sampled = rows[sample.positions]
            self._samples.add(rows_sampled, sample.codes, sample.counts)
        if facts.rtt is not None:
            self._count_rtts(*self._rtts.add(rows[facts.rtt.positions], facts.rtt))
        if facts.sockets is not None:
            self._sockets.append((rows, facts.sockets))
        return new

    def restart_open(self, facts: EdgeFacts) -> Int64s:
        """Replace what is known to be open by a recount: one record an open socket.

        Returns positions of one record for each edge that is new.
        """
        self._values["open"][:] = 0
        rows, new = self._rows_of(facts)
        np.add.at(self._values["open"], rows, np.int32(1))
        return new

    def finish(self) -> EdgeColumns:
        """Return the window's rows and start the next window."""
        self._count_rtts(*self._rtts.latest())
        self._settle_udp_sockets()
        self._settle_negative_open()
        count = len(self._index)
        minima = self._values["rtt_min_us"][:count]
        minima[minima == _NO_MINIMUM] = 0
        keys = [column[:count] for column in self._key]
        edges: Columns = dict(zip(KEY_COLUMNS, keys, strict=True))
        edges |= unpack_ends(edges.pop("ends"))
        for name, values in self._values.items():
            # Only nonsense from the kernel overflows; it must not spoil a whole batch.
            most = _MOST[values.dtype.itemsize]
            edges[name] = np.clip(values[:count], 0, most, out=values[:count])
        result = EdgeColumns(edges, self._samples.columns())
        self._carry_open(keys, edges)
        return result

    def _start(self, expected: int) -> None:
        capacity = max(_FIRST_CAPACITY, expected * 2)
        self._index = KeyIndex(expected)
        self._key = [np.zeros(capacity, np.int64) for _ in KEY_COLUMNS]
        self._values: Columns = {
            name: np.zeros(capacity, dtype) for name, dtype in _VALUES
        }
        self._values["rtt_min_us"][:] = _NO_MINIMUM
        self._samples = SampleCounts()
        self._rtts = RttSamples()
        self._sockets: list[tuple[Int64s, Hashes]] = []
        self._overflow_room = min(self._max_edges // 16 + 1, _MAX_OVERFLOW_EDGES)

    def _rows_of(self, facts: EdgeFacts) -> tuple[Int64s, Int64s]:
        hashes = hash_columns(facts.key)
        rows = self._index.find(hashes)
        missing = np.flatnonzero(rows < 0)
        if not missing.size:
            return rows, missing
        distinct, first = np.unique(hashes[missing], return_index=True)
        room = max(0, self._max_edges - len(self._index))
        if distinct.size > room:
            kept = np.sort(np.argpartition(first, room)[:room]) if room else first[:0]
            distinct, first = distinct[kept], first[kept]
        order = np.argsort(first)
        new = missing[first[order]]
        self._append(distinct[order], [column[new] for column in facts.key])
        rows[missing] = self._index.find(hashes[missing])
        self._overflow(facts, rows)
        return rows, new

    def _append(self, hashes: Hashes, key: list[Int64s]) -> None:
        rows = self._index.insert(hashes)
        self._reserve(len(self._index))
        for column, values in zip(self._key, key, strict=True):
            column[rows] = values

    def _reserve(self, count: int) -> None:
        used = self._key[0].size
        if count <= used:
            return
        capacity = max(count, 2 * used)
        for column in [*self._key, *self._values.values()]:
            column.resize(capacity, refcheck=False)  # zeros what it adds
        self._values["rtt_min_us"][used:] = _NO_MINIMUM

    def _overflow(self, facts: EdgeFacts, rows: Int64s) -> None:
        homeless = np.flatnonzero(rows < 0)
        if not homeless.size:
            return
        self.overflowed_records += homeless.size
        rows[homeless] = self._overflow_rows([column[homeless] for column in facts.key])

    def _overflow_rows(self, key: list[Int64s]) -> Int64s:
        named = _without_other_end(key)
        hashes = hash_columns(named)
        missing = np.flatnonzero(self._index.find(hashes) < 0)
        distinct, first = np.unique(hashes[missing], return_index=True)
        room = self._overflow_room
        new = missing[first[:room]]
        self._overflow_room -= new.size
        self._append(distinct[:room], [column[new] for column in named])
        rows = self._index.find(hashes)
        nameless = np.flatnonzero(rows < 0)
        if nameless.size:
            rows[nameless] = self._nameless_rows(key[-1][nameless])
        return rows

    def _find_overflow_rows(self, key: list[Int64s]) -> Int64s:
        """Return the overflow edges of keys, -1 for those that have none."""
        named = self._index.find(hash_columns(_without_other_end(key)))
        nameless = self._index.find(hash_columns(_nameless(key[-1] & _KIND_MASK)))
        return np.where(named >= 0, named, nameless)

    def _nameless_rows(self, ends: Int64s) -> Int64s:
        kinds, inverse = np.unique(ends & _KIND_MASK, return_inverse=True)
        key = _nameless(kinds)
        hashes = hash_columns(key)
        missing = self._index.find(hashes) < 0
        if missing.any():
            self._append(hashes[missing], [column[missing] for column in key])
        return self._index.find(hashes)[inverse]

    def _count_rtts(self, rows: Int64s, srtt_us: Int64s) -> None:
        if not rows.size:
            return
        np.add.at(self._values["rtt_sum_us"], rows, srtt_us)
        np.add.at(self._values["rtt_count"], rows, np.int32(1))
        np.maximum.at(self._values["rtt_max_us"], rows, srtt_us.astype(np.int32))
        self._samples.add(rows, sample_codes(Sample.RTT, duration_buckets(srtt_us)))

    def _settle_udp_sockets(self) -> None:
        if not self._sockets:
            return
        rows = np.concatenate([rows for rows, _ in self._sockets])
        sockets = np.concatenate([sockets for _, sockets in self._sockets])
        _, first = np.unique(hash_columns([rows, sockets]), return_index=True)
        np.add.at(self._values["open"], rows[first], np.int32(1))

    def _settle_negative_open(self) -> None:
        """Move what closed on an edge but was opened on an overflow edge to that."""
        negative = np.flatnonzero(self._values["open"][: len(self._index)] < 0)
        if not negative.size:
            return
        surplus = self._values["open"][negative]
        self._values["open"][negative] = 0
        rows = self._find_overflow_rows([column[negative] for column in self._key])
        found = rows >= 0
        np.add.at(self._values["open"], rows[found], surplus[found])
        np.maximum(self._values["open"], 0, out=self._values["open"])

    def _carry_open(self, keys: list[Int64s], edges: Columns) -> None:
        is_tcp = edges["protocol"] == Protocol.TCP
        carried = np.flatnonzero((edges["open"] > 0) & is_tcp)
        self._start(carried.size)
        if not carried.size:
            return
        key = [column[carried] for column in keys]
        high, low = key[_REMOTE]
        carried_overflow = int(np.count_nonzero((high | low) == 0))
        self._overflow_room = max(0, self._overflow_room - carried_overflow)
        self._append(hash_columns(key), key)
        self._values["open"][: carried.size] = edges["open"][carried]


def _nameless(kinds: Int64s) -> list[Int64s]:
    """Return the keys of overflow edges of which only protocol and role are known."""
    return [np.zeros(kinds.size, np.int64)] * (len(KEY_COLUMNS) - 1) + [kinds]


def _without_other_end(key: list[Int64s]) -> list[Int64s]:
    """Return the keys of overflow edges: own address and namespace, server's port."""
    ends = key[-1]
    role = ends & 0xFF
    is_client, is_server = role == Role.CLIENT, role == Role.SERVER
    port = np.where(is_client, ends & _REMOTE_PORT, 0)
    port = np.where(is_server, ends & _LOCAL_PORT, port)
    is_known = is_client | is_server  # otherwise nobody could tell whose port it is
    result = [np.zeros_like(ends) for _ in key]
    for place in (*range(len(key))[_LOCAL], _NETNS):
        result[place] = np.where(is_known, key[place], 0)
    result[-1] = port | (ends & _KIND_MASK)
    return result
