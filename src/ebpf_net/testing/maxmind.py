"""Writer of small MaxMind-format files (MaxMind DB file format specification 2.0)."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping

Value = str | int | Mapping[str, "Value"]

_METADATA_START = b"\xab\xcd\xefMaxMind.com"
_STRING, _UINT16, _UINT32, _MAP = 2, 5, 6, 7
_UINT64, _ARRAY = 2, 4  # of the types that have a byte of their own
_SEPARATOR = bytes(16)


def make_database(records: Mapping[str, Mapping[str, Value]]) -> bytes:
    """Build a database from records by their networks, which do not overlap."""
    data, offsets = bytearray(), []
    nodes: list[list[int | None]] = [[None, None]]
    for network, record in records.items():
        offsets.append(len(data))
        data += _encode(record)
        _insert(nodes, _bits(network), -len(offsets))
    count = len(nodes)
    tree = b"".join(
        struct.pack(">I", _target(child, count, offsets))
        for node in nodes
        for child in node
    )
    return tree + _SEPARATOR + bytes(data) + _METADATA_START + _metadata(count)


def _bits(network: str) -> str:
    parsed = ipaddress.ip_network(network)
    first = int(parsed.network_address)
    length = parsed.prefixlen + (96 if parsed.version == 4 else 0)
    return f"{first:0128b}"[:length]


def _insert(nodes: list[list[int | None]], bits: str, leaf: int) -> None:
    place = 0
    for bit in bits[:-1]:
        following = nodes[place][int(bit)]
        if following is None:
            following = len(nodes)
            nodes[place][int(bit)] = following
            nodes.append([None, None])
        place = following
    nodes[place][int(bits[-1])] = leaf


def _target(child: int | None, count: int, offsets: list[int]) -> int:
    if child is None:
        return count
    if child >= 0:
        return child
    return count + len(_SEPARATOR) + offsets[-child - 1]


def _metadata(count: int) -> bytes:
    entries: dict[str, bytes] = {
        "binary_format_major_version": _number(_UINT16, 2),
        "binary_format_minor_version": _number(_UINT16, 0),
        "build_epoch": bytes([8, _UINT64]) + struct.pack(">Q", 1_700_000_000),
        "database_type": _encode("Test"),
        "description": _encode({"en": "test"}),
        "ip_version": _number(_UINT16, 6),
        "languages": bytes([0, _ARRAY]),
        "node_count": _number(_UINT32, count),
        "record_size": _number(_UINT16, 32),
    }
    body = b"".join(_encode(key) + value for key, value in entries.items())
    return _control(_MAP, len(entries)) + body


def _number(kind: int, value: int) -> bytes:
    size = 2 if kind == _UINT16 else 4
    return _control(kind, size) + value.to_bytes(size, "big")


def _encode(value: Value) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return _control(_STRING, len(text)) + text
    if isinstance(value, int):
        return _number(_UINT32, value)
    pairs = (_encode(key) + _encode(item) for key, item in value.items())
    return _control(_MAP, len(value)) + b"".join(pairs)


def _control(kind: int, size: int) -> bytes:
    if size < 29:
        return bytes([kind << 5 | size])
    return bytes([kind << 5 | 29, size - 29])
