"""Rows of ``kubernetes_addresses``: who had which address when."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from ebpf_net.collectors.kubernetes.reference_rows import Row

_MAPPED = 0xFFFF << 32
_SECOND_NS = 1_000_000_000
_FROM, _UNTIL = 5, 6  # places in a row
PROTOCOLS = {"TCP": 6, "UDP": 17}
"""Of those that Kubernetes has, the ones that are counted."""

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


@dataclass(frozen=True)
class Holder:
    """Who holds addresses since when."""

    kind: str
    uid: str
    from_ns: int


def address_row(
    holder: Holder, text: str, port: int = 0, protocol: int = 0
) -> tuple[str, Row] | None:
    """Return the key and row of an address; None: the text is no address."""
    halves = parse_address(text)
    if halves is None:
        return None
    suffix = f"/{port}/{protocol}" if port else ""
    key = f"{holder.uid}/{text}{suffix}"
    return key, _row(key, holder, halves, port, protocol)


def node_port_row(holder: Holder, port: int, protocol: int) -> tuple[str, Row]:
    """Return the key and row of a port that every node has for a service."""
    key = f"{holder.uid}/*/{port}/{protocol}"
    return key, _row(key, holder, (0, 0), port, protocol)


def with_start(row: Row, before: Row | None, now_ns: int, *, moved: bool) -> Row:
    """Return the row with the start that was told before.

    An address that ended and is back, or that another one gave way to, is from now on.
    """
    if before is not None and not before[_UNTIL]:
        from_ns = before[_FROM]
    elif before is not None or moved:
        from_ns = now_ns
    else:
        return row
    return (*row[:_FROM], from_ns, *row[_UNTIL:])


def with_end(row: Row, until_ns: int) -> Row:
    """Return the row with an end; the first one told stays."""
    if row[_UNTIL]:
        return row
    until_ns = max(until_ns, int(row[_FROM]) + 1)
    return (*row[:_UNTIL], until_ns, *row[_UNTIL + 1 :])


def has_ended(row: Row) -> bool:
    """Whether the address is no longer its holder's."""
    return bool(row[_UNTIL])


def _row(key: str, holder: Holder, halves: Halves, port: int, protocol: int) -> Row:
    return (
        *(key, holder.kind, holder.uid, *halves),
        *(holder.from_ns, 0, port, protocol),
    )
