"""From columns to a batch's body: Arrow IPC streams, compressed as one.

Numeric columns are not copied before they are written. Neither pyarrow nor a Python
object for each value is involved, but for strings of the small reference tables.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any

import nanoarrow  # type: ignore[import-untyped]  # it has no stubs
import numpy as np
import numpy.typing as npt
import zstandard
from nanoarrow.ipc import StreamWriter  # type: ignore[import-untyped]

from ebpf_net.schema import TABLES

ZSTD_LEVEL = 1

NumericColumn = npt.NDArray[Any]
Table = Mapping[str, NumericColumn | Sequence[str]]

_TYPES = {
    "int64": nanoarrow.int64(),
    "int32": nanoarrow.int32(),
    "int16": nanoarrow.int16(),
    "int8": nanoarrow.int8(),
    "bool": nanoarrow.bool_(),
    "string": nanoarrow.string(),
}


def encode_body(tables: Mapping[str, Table]) -> bytes:
    """Return tables of ``schema.TABLES``, by name and in order, as a batch's body."""
    out = io.BytesIO()
    for name, table in tables.items():
        _write_stream(out, name, table)
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(out.getbuffer())


def count_rows(tables: Mapping[str, Table]) -> int:
    """Return the number of rows of all tables together."""
    return sum(_length(table) for table in tables.values())


@functools.cache
def _schema(name: str) -> Any:
    struct = nanoarrow.struct(
        {column: _TYPES[type_name] for column, type_name in TABLES[name]},
        nullable=False,
    )
    return nanoarrow.c_schema(struct).modify(metadata={"table": name})


def _write_stream(out: io.BytesIO, name: str, table: Table) -> None:
    length = _length(table)
    children = [
        _array(type_name, table[column], length) for column, type_name in TABLES[name]
    ]
    batch = nanoarrow.c_array_from_buffers(
        _schema(name), length, [None], null_count=0, children=children, move=True
    )
    StreamWriter.from_writable(out).serialize_stream(batch)


def _array(type_name: str, column: NumericColumn | Sequence[str], length: int) -> Any:
    buffers: list[Any]
    if isinstance(column, np.ndarray):
        if column.dtype != np.dtype(type_name):
            message = f"a column is {column.dtype}, expected {type_name}"
            raise TypeError(message)
        packed = type_name == "bool"
        values = np.packbits(column, bitorder="little") if packed else column
        buffers = [None, np.ascontiguousarray(values)]
    else:
        texts = [value.encode(errors="replace") for value in column]
        offsets = np.zeros(length + 1, np.int32)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        buffers = [None, offsets, b"".join(texts)]
    return nanoarrow.c_array_from_buffers(
        _TYPES[type_name], length, buffers, null_count=0
    )


def _length(table: Table) -> int:
    return len(next(iter(table.values())))
