"""The protobuf wire format: fields written by column or one by one, and read.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ebpf_net.exporters.byte_columns import ByteColumn, from_buffers

_VARINT = 0
_FIXED64 = 1
_LENGTH = 2
_FIXED32 = 5
_MAX_VARINT_BYTES = 10


class WireError(ValueError):
    """Bytes that are not a protobuf message."""


def encode_varint(value: int) -> bytes:
    """Write a number from 0 to 2**64 - 1."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def varint_field(number: int, value: int) -> bytes:
    """Write a varint field."""
    return encode_varint(number << 3 | _VARINT) + encode_varint(value)


def fixed64_field(number: int, value: int) -> bytes:
    """Write a fixed64 or sfixed64 field."""
    packed = (value & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
    return encode_varint(number << 3 | _FIXED64) + packed


def double_field(number: int, value: float) -> bytes:
    """Write a double field."""
    return encode_varint(number << 3 | _FIXED64) + struct.pack("<d", value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Write a string, bytes or message field."""
    return length_prefix(number, len(value)) + value


def length_prefix(number: int, length: int) -> bytes:
    """Write what comes before ``length`` bytes of a string, bytes or message field."""
    return encode_varint(number << 3 | _LENGTH) + encode_varint(length)


def string_field(number: int, value: str) -> bytes:
    """Write a string field; nothing if it is empty, as proto3 does."""
    return bytes_field(number, value.encode()) if value else b""


def encode_varints(
    values: NDArray[np.int64],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Write many non-negative numbers; return the bytes and where each begins and ends.

    The second array has one element more than there are numbers.
    """
    numbers = values.astype(np.uint64)
    lengths = np.ones(len(numbers), np.int64)
    largest = int(np.max(numbers, initial=0)) >> 7
    shift = 7
    while largest:
        lengths += (numbers >> np.uint64(shift)) > 0
        largest >>= 7
        shift += 7
    offsets = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    encoded = np.empty(offsets[-1], np.uint8)
    for position in range(shift // 7):
        rows = np.flatnonzero(lengths > position)
        group = (numbers[rows] >> np.uint64(7 * position)) & np.uint64(0x7F)
        more = (lengths[rows] > position + 1).astype(np.uint64) << np.uint64(7)
        encoded[offsets[rows] + position] = group | more
    return encoded, offsets


def varint_column(values: NDArray[np.int64]) -> ByteColumn:
    """Return the varint of each number as a column."""
    return from_buffers(*encode_varints(values))


def zigzag(value: int) -> int:
    """Map a signed number to the unsigned one that sint32 and sint64 carry."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield each field's number and value: an int, or the bytes of the longer types.

    Raises WireError.
    """
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _read_varint(message, position)
            yield number, value
            continue
        if wire_type == _LENGTH:
            length, position = _read_varint(message, position)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise WireError(f"wire type {wire_type} is not supported")
        if length > len(message) - position:
            raise WireError("a field is longer than its message")
        yield number, message[position : position + length]
        position += length


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position + index + 1
    raise WireError("a varint does not end")
