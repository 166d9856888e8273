"""Columns of text, with whole-column functions that mypy can follow.

The stubs of pyarrow.compute know few of the argument types that it takes.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

TextColumn = pa.StringArray
Bool = npt.NDArray[np.bool_]
_compute: Any = pc


def read_text(table: pa.Table, name: str) -> TextColumn:
    """Return a string column in one piece."""
    return cast(TextColumn, table[name].combine_chunks())


def from_texts(texts: list[str]) -> TextColumn:
    """Return a column with these values."""
    return pa.array(texts, pa.string())


def from_integers(values: npt.NDArray[np.int64], width: int) -> TextColumn:
    """Return the numbers in decimal, right-aligned."""
    texts = pa.array(values).cast(pa.string())
    return cast(TextColumn, _compute.utf8_lpad(texts, width))


def join(*parts: TextColumn | str, separator: str = "") -> TextColumn:
    """Join columns, and constants, row by row."""
    return cast(TextColumn, _compute.binary_join_element_wise(*parts, separator))


def choose(
    mask: Bool, where_true: TextColumn | str, where_false: TextColumn | str
) -> TextColumn:
    """Return one of two columns or constants for each row."""
    return cast(TextColumn, _compute.if_else(pa.array(mask), where_true, where_false))


def take(column: TextColumn, rows: npt.NDArray[np.int64]) -> TextColumn:
    """Return some rows."""
    return cast(TextColumn, cast("Any", column).take(pa.array(rows)))


def put(column: TextColumn, mask: Bool, texts: list[str]) -> TextColumn:
    """Return the column with the rows of ``mask`` replaced, in order."""
    return cast(
        TextColumn,
        _compute.replace_with_mask(column, pa.array(mask), from_texts(texts)),
    )


def equals(column: TextColumn, other: TextColumn | str) -> Bool:
    """Compare with a column or a constant."""
    return cast(Bool, _compute.equal(column, other).to_numpy(zero_copy_only=False))


def contains(column: TextColumn, text: str) -> Bool:
    """Tell which values have ``text`` in them."""
    found = _compute.match_substring(column, text)
    return cast(Bool, found.to_numpy(zero_copy_only=False))


def matches(column: TextColumn, pattern: str) -> Bool:
    """Tell which values a regular expression finds something in."""
    found = _compute.match_substring_regex(column, pattern)
    return cast(Bool, found.to_numpy(zero_copy_only=False))


def lower(column: TextColumn) -> TextColumn:
    """Return the column in lower case."""
    return cast(TextColumn, _compute.utf8_lower(column))


def single_spaced(column: TextColumn) -> TextColumn:
    """Return the column with no more than one blank at a time, and none at the ends."""
    squeezed = _compute.replace_substring_regex(column, " +", " ")
    return cast(TextColumn, _compute.utf8_trim(squeezed, " "))


def rank(column: TextColumn) -> npt.NDArray[np.int64]:
    """Return the place of each row in the order of the values."""
    places = np.empty(len(column), np.int64)
    places[_compute.array_sort_indices(column).to_numpy()] = np.arange(len(column))
    return places


def values(column: TextColumn) -> list[str]:
    """Return the column as a list."""
    return cast("list[str]", column.to_pylist())
