"""An interface as it is kept from poll to poll, in as few bytes as will do.

Fifty thousand interfaces with rows of their own would take twice the memory. So what
many have alike is kept once, addresses are packed, and rows are made when they are
told.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ebpf_net.collectors.cloud.providers import PartKey
from ebpf_net.collectors.cloud.records import AddressRange, Interface
from ebpf_net.collectors.reference_rows import MAX_TEXT_LENGTH

_RANGE = struct.Struct("<qqB?")
_TIME = struct.Struct("<q")
_IPV4_BITS = 96
_MAPPED_HIGH, _MAPPED_LOW = 0, 0xFFFF


class Facts(NamedTuple):
    """What many interfaces have alike; names as in ``schema.CLOUD_INTERFACES``."""

    provider: str
    account: str
    region: str
    zone: str
    zone_id: str
    network: str
    subnet: str
    instance_type: str
    kind: str
    role: str
    tags: str


class Held(NamedTuple):
    """One interface. ``ranges`` are packed, and ``starts`` are their ``from_ns``."""

    facts: Facts
    instance_id: str
    name: str
    ranges: bytes
    starts: bytes


def facts_of(key: PartKey, interface: Interface) -> Facts:
    """Return what this interface may share with others."""
    return Facts(
        key.provider,
        key.account,
        interface.region,
        _clip(interface.zone),
        _clip(interface.zone_id),
        _clip(interface.network),
        _clip(interface.subnet),
        _clip(interface.instance_type),
        interface.kind.value,
        _clip(interface.role),
        interface.tags,
    )


def interface_uid(key: PartKey, interface: Interface) -> str:
    """Return what tells an interface from all others."""
    provider, account, _ = key
    return _clip(f"{provider}/{account}/{interface.region}/{interface.interface_id}")


def id_within(uid: str) -> str:
    """Return the interface's id of ``interface_uid``."""
    return uid.split("/", 3)[3]


def address_key(uid: str, packed: bytes) -> str:
    """Return the key of ``schema.CLOUD_ADDRESSES``."""
    return f"{uid} {format_range(packed)}"


def hold(interface: Interface, facts: Facts, ranges: bytes, starts: bytes) -> Held:
    """Return what is kept of an interface."""
    name, instance_id = _clip(interface.name), _clip(interface.instance_id)
    return Held(facts, instance_id, name, ranges, starts)


def pack_ranges(addresses: tuple[AddressRange, ...]) -> bytes:
    """Return ranges one after the other, each once."""
    if len(addresses) == 1:
        return _RANGE.pack(*addresses[0])
    return b"".join(_RANGE.pack(*one) for one in dict.fromkeys(addresses))


def split_ranges(ranges: bytes) -> Iterator[bytes]:
    """Yield single packed ranges."""
    for place in range(0, len(ranges), _RANGE.size):
        yield ranges[place : place + _RANGE.size]


def count_ranges(ranges: bytes) -> int:
    """Return how many there are."""
    return len(ranges) // _RANGE.size


def unpack_ranges(ranges: bytes) -> Iterator[tuple[int, int, int, bool]]:
    """Yield halves, prefix length and whether it is public."""
    return _RANGE.iter_unpack(ranges)


def is_public(packed: bytes) -> bool:
    """Whether a packed range means the same everywhere."""
    return packed[-1] != 0


def pack_starts(starts: list[int]) -> bytes:
    """Return times one after the other."""
    return b"".join(map(_TIME.pack, starts))


def unpack_starts(starts: bytes) -> Iterator[int]:
    """Yield the times."""
    return (time for (time,) in _TIME.iter_unpack(starts))


def format_range(packed: bytes) -> str:
    """Return a range as people write it: ``10.0.0.0/28``, or an address alone."""
    high, low, length, _ = _RANGE.unpack(packed)
    if high == _MAPPED_HIGH and low >> 32 == _MAPPED_LOW:
        text = socket.inet_ntoa((low & 0xFFFFFFFF).to_bytes(4))
        return text if length == 128 else f"{text}/{length - _IPV4_BITS}"
    data = high.to_bytes(8, signed=True) + low.to_bytes(8, signed=True)
    text = socket.inet_ntop(socket.AF_INET6, data)
    return text if length == 128 else f"{text}/{length}"


def _clip(text: str) -> str:
    return text if len(text) <= MAX_TEXT_LENGTH else text[:MAX_TEXT_LENGTH]
