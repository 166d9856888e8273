"""From columns to a batch's body: Arrow IPC streams, compressed as one.

Numeric columns are not copied before they are written. Neither pyarrow nor a Python
object for each value is involved, but for strings of the small reference tables.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import nanoarrow  # type: ignore[import-untyped]  # it has no stubs
import numpy as np
import zstandard
from nanoarrow.ipc import StreamWriter  # type: ignore[import-untyped]

from ebpf_net.collectors.row_table import NumericColumn, Table, slice_table
from ebpf_net.schema import TABLES

ZSTD_LEVEL = 1
_CHUNK_BYTES = 1 << 17
_SIZE_BYTES = 8
_PIECE_ROWS, _MAX_PIECES = 2048, 6

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
    if not tables:
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(b"")
    frame = _Frame()
    with io.BufferedWriter(frame, _CHUNK_BYTES) as out:
        for name, table in tables.items():
            _write_stream(out, name, table)
    return frame.content


class _Frame(io.RawIOBase):
    """A zstd frame that says its size, though that is known only when all is written.

    So what is compressed is never in memory as a whole.
    """

    def __init__(self) -> None:
        self.content = b""
        """The frame, once it is closed."""
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
        self._compressed = io.BytesIO(bytes(_SIZE_BYTES))
        self._compressed.seek(_SIZE_BYTES)
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        view = memoryview(part).cast("B")
        self._size += view.nbytes
        for start in range(0, view.nbytes, _CHUNK_BYTES):
            chunk = view[start : start + _CHUNK_BYTES]
            self._compressed.write(self._compressor.compress(chunk))
        return view.nbytes

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        self._compressed.write(self._compressor.flush())
        with self._compressed.getbuffer() as frame:
            # RFC 8878, section 3.1.1.1: the magic number, a descriptor, the window,
            # then a size, of 8 bytes if the two highest bits of the descriptor are set.
            frame[:6] = frame[_SIZE_BYTES : _SIZE_BYTES + 6]
            frame[4] |= 0xC0
            frame[6 : 6 + _SIZE_BYTES] = self._size.to_bytes(_SIZE_BYTES, "little")
        self.content = self._compressed.getvalue()
        del self._compressor, self._compressed


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


def _write_stream(out: io.BufferedWriter[_Frame], name: str, table: Table) -> None:
    with StreamWriter.from_writable(out) as writer:
        for piece in _pieces(name, table):
            writer.write_stream(_batch(name, piece))


def _pieces(name: str, table: Table) -> Iterator[Table]:
    """Yield what becomes one record batch each: texts are copied, and not all at once.

    There are few of them, as the intake takes 64 of all tables of a body.
    """
    length = _length(table)
    if length <= _PIECE_ROWS or "string" not in dict(TABLES[name]).values():
        yield table
        return
    rows = max(_PIECE_ROWS, -(-length // _MAX_PIECES))
    for first in range(0, length, rows):
        yield slice_table(table, first, first + rows)


def _batch(name: str, table: Table) -> Any:
    length = _length(table)
    children = [
        _array(type_name, table[column], length) for column, type_name in TABLES[name]
    ]
    return nanoarrow.c_array_from_buffers(
        _schema(name), length, [None], null_count=0, children=children, move=True
    )


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
        lengths, content = _encode_texts(column)
        offsets = np.zeros(length + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        buffers = [None, offsets, content]
    return nanoarrow.c_array_from_buffers(
        _TYPES[type_name], length, buffers, null_count=0
    )


def _encode_texts(column: Sequence[str]) -> tuple[list[int], bytes]:
    """Return the length of each text in bytes, and all of them."""
    together = "".join(column)
    if together.isascii():  # then there is no need of bytes for each
        return [len(text) for text in column], together.encode()
    texts = [value.encode(errors="replace") for value in column]
    return [len(text) for text in texts], b"".join(texts)


def _length(table: Table) -> int:
    return len(next(iter(table.values())))
