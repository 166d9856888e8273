"""Which row a key has: an open-addressing hash table that works on whole arrays.

Keys are 64-bit hashes, seeded anew at each start so that nobody can choose addresses
that collide. Among 100,000 keys two share a hash once in 4 thousand million tables.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

_MINIMUM_SIZE = 1024
_HALF = np.uint64(32)
_FREE = np.uint64(0)
_MULTIPLIERS = tuple(np.uint64(secrets.randbits(64) | 1) for _ in range(16))


def hash_columns(columns: Iterable[npt.NDArray[Any]]) -> Hashes:
    """Hash integer columns into one; up to 16 columns, and never 0."""
    hashes: Hashes | None = None
    for column, multiplier in zip(columns, _MULTIPLIERS, strict=False):
        words = column.astype(np.uint64)
        hashes = words if hashes is None else np.bitwise_xor(hashes, words, out=hashes)
        hashes *= multiplier
        hashes ^= hashes >> _HALF
    if hashes is None:
        return np.empty(0, np.uint64)
    hashes[hashes == _FREE] = 1
    return hashes


class KeyIndex:
    """Row numbers by hash. Rows are numbered in the order of insertion, from 0."""

    def __init__(self, expected: int = 0) -> None:
        size = _MINIMUM_SIZE
        while size < 4 * expected:
            size *= 2
        self._count = 0
        self._hashes = np.zeros(size, np.uint64)
        self._rows = np.zeros(size, np.int64)

    def __len__(self) -> int:
        return self._count

    def find(self, hashes: Hashes) -> Rows:
        """Return the row of each hash, -1 where it has none."""
        mask = np.uint64(self._hashes.size - 1)
        places = (hashes & mask).astype(np.int64)
        found = self._hashes[places]
        rows = np.where(found == hashes, self._rows[places], -1)
        waiting = np.flatnonzero((found != hashes) & (found != _FREE))
        while waiting.size:
            places[waiting] = (places[waiting] + 1) & int(mask)
            found = self._hashes[places[waiting]]
            hit = found == hashes[waiting]
            rows[waiting[hit]] = self._rows[places[waiting[hit]]]
            waiting = waiting[~hit & (found != _FREE)]
        return rows

    def insert(self, hashes: Hashes) -> Rows:
        """Give new rows to hashes that are distinct and not in the table."""
        if 2 * (self._count + hashes.size) > self._hashes.size:
            self._grow(self._count + hashes.size)
        rows = np.arange(self._count, self._count + hashes.size, dtype=np.int64)
        self._place(hashes, rows)
        self._count += hashes.size
        return rows

    def _place(self, hashes: Hashes, rows: Rows) -> None:
        mask = self._hashes.size - 1
        places = (hashes & np.uint64(mask)).astype(np.int64)
        while hashes.size:
            free = self._hashes[places] == _FREE
            # Two that want one place both write; the one that is read back has it.
            self._hashes[places[free]] = hashes[free]
            placed = self._hashes[places] == hashes
            self._rows[places[placed]] = rows[placed]
            left = ~placed
            hashes, rows = hashes[left], rows[left]
            places = (places[left] + 1) & mask

    def _grow(self, count: int) -> None:
        taken = self._hashes != _FREE
        hashes, rows = self._hashes[taken], self._rows[taken]
        size = self._hashes.size
        while size < 4 * count:
            size *= 2
        self._hashes = np.zeros(size, np.uint64)
        self._rows = np.zeros(size, np.int64)
        self._place(hashes, rows)
