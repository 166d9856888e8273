"""Finding rows by their keys: sorted arrays, built when a table changes.

Whoever looks something up asks for many keys at once and gets row numbers; -1 is
nobody. Texts are compared as codes that two columns have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.memory import find

NOBODY = -1


class Lookup:
    """Rows by a key of theirs; of rows with the same key the first counts."""

    def __init__(self, keys: Int64, rows: Int64 | None = None) -> None:
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = ordered[1:] != ordered[:-1]
        self._keys = ordered[is_first]
        self._rows = order[is_first] if rows is None else rows[order[is_first]]

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def keys(self) -> Int64:
        """The keys, sorted."""
        return self._keys

    def find(self, wanted: Int64) -> Int64:
        """Return the row of each wanted key, or NOBODY."""
        if not len(self._keys):
            return nobody(len(wanted))
        place = find(self._keys, wanted)
        return np.where(place >= 0, self._rows[place], NOBODY)


def nobody(count: int) -> Int64:
    """Return row numbers that are of no row."""
    return np.full(count, NOBODY, np.int64)


def pick(values: Int64, rows: Int64, otherwise: int = NOBODY) -> Int64:
    """Return the value of each row; ``otherwise`` where there is none."""
    if not len(values):
        return np.full(len(rows), otherwise, np.int64)
    return np.where(rows >= 0, values[rows], otherwise)


def text_codes(column: pa.ChunkedArray[Any]) -> tuple[Int64, pa.StringArray]:
    """Return a number for each text of a column, and the texts by their numbers."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    texts: Any = encoded.dictionary
    return codes.astype(np.int64), texts


def codes_among(column: pa.ChunkedArray[Any], texts: pa.StringArray) -> Int64:
    """Return the place of each text of a column among distinct texts, or NOBODY."""
    if not len(texts) or not len(column):
        return nobody(len(column))
    found = pc.index_in(column.combine_chunks(), value_set=texts)
    return found.fill_null(NOBODY).to_numpy(zero_copy_only=False).astype(np.int64)


def is_blank(column: pa.ChunkedArray[Any]) -> Bool:
    """Tell which texts are empty."""
    empty: Bool = pc.binary_length(column).to_numpy() == 0
    return empty


def only_one(keys: Int64, among: Int64) -> Bool:
    """Tell which rows have a key for which all rows agree on ``among``."""
    if not len(keys):
        return np.zeros(0, np.bool_)
    order = np.lexsort((among, keys))
    ordered, other = keys[order], among[order]
    group = np.cumsum(np.concatenate([[0], ordered[1:] != ordered[:-1]]))
    first = np.flatnonzero(np.diff(group, prepend=-1))
    last = np.append(first[1:], len(keys)) - 1
    agree = other[first] == other[last]
    result = np.empty(len(keys), np.bool_)
    result[order] = agree[group]
    return result


def same_rows(table: pa.Table, columns: Sequence[str]) -> Int64:
    """Return for each row the first row that reads the same in these columns."""
    codes = np.zeros(table.num_rows, np.int64)
    for name in columns:
        codes = combine(codes, _column_codes(table.column(name)))
    _, first, number = np.unique(codes, return_index=True, return_inverse=True)
    return first[number].astype(np.int64)


def _column_codes(column: pa.ChunkedArray[Any]) -> Int64:
    if pa.types.is_string(column.type):
        return text_codes(column)[0]
    return np.asarray(column.to_numpy()).astype(np.int64)
