"""Records of state: named arrays as bytes, to be written one after the other.

A record is the length of its index, the index as JSON, then its arrays as they are in
memory. The index has a header of the writer's, and name, kind and length of each array.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]
_KINDS = {kind: np.dtype(kind) for kind in ("uint8", "int64")}
_LENGTH = struct.Struct("<Q")
_ARCHIVE_MAGIC = b"PK"


@dataclass(frozen=True)
class StateRecord:
    """A header of plain values, and arrays by their names."""

    header: Mapping[str, Any]
    arrays: Arrays


def encode_record(record: StateRecord) -> bytes:
    """Return a record as bytes."""
    arrays = [np.ascontiguousarray(array) for array in record.arrays.values()]
    index = {
        "header": record.header,
        "arrays": [
            [name, array.dtype.name, len(array)]
            for name, array in zip(record.arrays, arrays, strict=True)
        ],
    }
    text = json.dumps(index).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *(one.data for one in arrays)])


def decode_records(data: bytes) -> Iterator[StateRecord]:
    """Yield what was encoded. Raises ValueError, KeyError or TypeError otherwise."""
    if data.startswith(_ARCHIVE_MAGIC):
        yield _decode_archive(data)
        return
    place = 0
    while place < len(data):
        record, place = _decode(data, place)
        yield record


def _decode(data: bytes, place: int) -> tuple[StateRecord, int]:
    text, place = _take(data, place, _LENGTH.size)
    text, place = _take(data, place, _LENGTH.unpack(text)[0])
    index = json.loads(bytes(text))
    arrays: Arrays = {}
    for name, kind, length in index["arrays"]:
        dtype = _KINDS[kind]
        part, place = _take(data, place, length * dtype.itemsize)
        arrays[name] = np.frombuffer(part, dtype)
    return StateRecord(index["header"], arrays), place


def _take(data: bytes, place: int, length: int) -> tuple[memoryview, int]:
    end = place + length
    if not place <= end <= len(data):
        raise ValueError(f"{length} bytes after {place} of {len(data)}")
    return memoryview(data)[place:end], end


def _decode_archive(data: bytes) -> StateRecord:
    """Read a NumPy archive, as former versions wrote it."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive}
    except (EOFError, zipfile.BadZipFile) as bad:
        raise ValueError(str(bad)) from bad
    header = json.loads(arrays.pop("header").tobytes())
    return StateRecord(header, arrays)
