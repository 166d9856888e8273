"""Addresses and times as they are in rows of reference tables."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

_MAPPED = 0xFFFF << 32
_SECOND_NS = 1_000_000_000

Halves = tuple[int, int]


def parse_address(text: str) -> Halves | None:
    """Return the halves of an address, IPv4 as ``::ffff:a.b.c.d``; None: it is none."""
    try:
        if ":" not in text:
            return 0, _MAPPED | int.from_bytes(socket.inet_pton(socket.AF_INET, text))
        data = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None
    return (
        int.from_bytes(data[:8], signed=True),
        int.from_bytes(data[8:], signed=True),
    )


def to_ns(time: datetime | None) -> int:
    """Return a time as Unix nanoseconds; 0: there is none."""
    if time is None:
        return 0
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return int(time.timestamp()) * _SECOND_NS + time.microsecond * 1000
