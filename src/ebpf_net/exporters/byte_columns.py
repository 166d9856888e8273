"""Columns of byte strings: joined, taken and looked into as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ByteColumn = pa.LargeBinaryArray
"""64-bit offsets: a column may hold more than 2 GiB."""

_NOTHING = pa.scalar(b"", pa.large_binary())


def join(*parts: ByteColumn | bytes) -> ByteColumn:
    """Join columns row by row; bytes stand for a column of the same value.

    At least one part must be a column.
    """
    # The last argument is the separator. Stubs allow columns or scalars, not both.
    arguments: list[Any] = [
        pa.scalar(part, pa.large_binary()) if isinstance(part, bytes) else part
        for part in parts
    ]
    return cast(ByteColumn, pc.binary_join_element_wise(*arguments, _NOTHING))


def take(column: ByteColumn, rows: NDArray[np.integer[Any]]) -> ByteColumn:
    """Return the values at these row numbers."""
    return column.take(rows)


def where(mask: NDArray[np.bool_], column: ByteColumn) -> ByteColumn:
    """Return the column with nothing in the rows that are not in the mask."""
    chosen: Any = pc.if_else(cast(Any, pa.array(mask)), column, _NOTHING)
    return cast(ByteColumn, chosen)


def encode_numbers(numbers: NDArray[np.generic]) -> ByteColumn:
    """Return numbers as their decimal text."""
    texts: Any = pc.cast(cast(Any, pa.array(numbers)), pa.large_string())
    return cast(ByteColumn, texts.cast(pa.large_binary()))


def from_buffers(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> ByteColumn:
    """Return a column over bytes and where its values begin and end, uncopied."""
    buffers = [pa.py_buffer(cast(Any, array)) for array in (offsets, data)]
    column = pa.Array.from_buffers(
        pa.large_binary(), len(offsets) - 1, [None, *buffers]
    )
    return cast(ByteColumn, column)


def to_buffers(column: ByteColumn) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of a column and where its values begin and end, uncopied."""
    _, offsets_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(
        cast(Any, offsets_buffer), np.int64, len(column) + 1, column.offset * 8
    )
    if data_buffer is None:
        return np.empty(0, np.uint8), offsets
    return np.frombuffer(cast(Any, data_buffer), np.uint8), offsets


def from_records(records: NDArray[np.void]) -> ByteColumn:
    """Return each record's bytes as a value."""
    size = records.dtype.itemsize
    offsets = np.arange(0, (len(records) + 1) * size, size, dtype=np.int64)
    return from_buffers(records.view(np.uint8), offsets)


def lengths(column: ByteColumn) -> NDArray[np.int64]:
    """Return the number of bytes of each value."""
    return np.diff(to_buffers(column)[1])


def text_of(column: ByteColumn) -> bytes:
    """Return all values, one after another."""
    data, offsets = to_buffers(column)
    return data[offsets[0] : offsets[-1]].tobytes()


def encode_texts(texts: Sequence[str]) -> ByteColumn:
    """Return texts as a column of their UTF-8."""
    values = [text.encode() for text in texts]
    return pa.array(values, pa.large_binary())


def replace(column: ByteColumn, found: bytes, written: bytes) -> ByteColumn:
    """Replace each occurrence of some bytes by others."""
    arguments: Any = (column, found, written)
    return cast(ByteColumn, pc.replace_substring(*arguments))


def join_lists(
    column: ByteColumn, starts: NDArray[np.int64], separator: bytes
) -> ByteColumn:
    """Join the values from each of ``starts`` to the next, into one value for each."""
    offsets: Any = pa.array(starts)
    lists: Any = pa.LargeListArray.from_arrays(offsets, column)
    joined: Any = pc.binary_join(lists, pa.scalar(separator, pa.large_binary()))
    return cast(ByteColumn, joined)
