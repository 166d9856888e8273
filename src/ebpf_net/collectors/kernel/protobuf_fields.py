"""The few kinds of protobuf fields that the APIs of containerd and CRI need.

A message is a list of (field number, value): bytes for what has a length, integers for
numbers. Field numbers are in the .proto files of containerd and of Kubernetes' CRI.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ebpf_net.collectors.kernel.container_api import ApiError

Value = int | bytes

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10


def read_fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yield the fields; ApiError where the message is no protobuf message."""
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        number, kind = tag >> 3, tag & 7
        value: Value
        if kind == _VARINT:
            value, position = _read_varint(message, position)
        elif kind == _BYTES:
            length, position = _read_varint(message, position)
            value, position = _read_bytes(message, position, length)
        elif kind in _FIXED_SIZES:
            content, position = _read_bytes(message, position, _FIXED_SIZES[kind])
            value = int.from_bytes(content, "little")
        else:
            raise ApiError(f"protobuf field {number} has kind {kind}")
        yield number, value


def read_messages(message: bytes, number: int) -> list[bytes]:
    """Return the values of a repeated field of messages or texts."""
    return [
        value
        for found, value in read_fields(message)
        if found == number and isinstance(value, bytes)
    ]


def read_message(message: bytes, number: int) -> bytes:
    """Return the last value of a field of a message or text; empty without one."""
    values = read_messages(message, number)
    return values[-1] if values else b""


def read_text(message: bytes, number: int) -> str:
    """Return a text."""
    return read_message(message, number).decode(errors="replace")


def read_map(message: bytes, number: int) -> dict[str, str]:
    """Return a map of texts to texts."""
    entries = read_messages(message, number)
    return {read_text(entry, 1): read_text(entry, 2) for entry in entries}


def write_field(number: int, value: Value | str | Mapping[str, str]) -> bytes:
    """Return a number, a text, a message or a map of texts as a field."""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    if isinstance(value, Mapping):
        entries = [write_field(1, k) + write_field(2, v) for k, v in value.items()]
        return b"".join(write_field(number, entry) for entry in entries)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(message):
            break
        byte = message[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise ApiError("a protobuf number does not end")


def _read_bytes(message: bytes, position: int, length: int) -> tuple[bytes, int]:
    end = position + length
    if end > len(message):
        raise ApiError(f"a protobuf field has {length} bytes, beyond its message")
    return message[position:end], end


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
