"""Addresses as text and by their range, for whole columns of distinct ones."""

from __future__ import annotations

import socket

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.reducer.keys import Bool, Int64

_OCTETS = pa.array([str(octet) for octet in range(256)])

_NOT_PUBLIC = (
    (0x00000000, 8),
    (0x0A000000, 8),
    (0x64400000, 10),
    (0x7F000000, 8),
    (0xA9FE0000, 16),
    (0xAC100000, 12),
    (0xC0A80000, 16),
    (0xE0000000, 3),
)  # IANA IPv4 Special-Purpose Address Registry, and multicast


WHOLE = 128
"""Bits of the prefix that is one address."""


def first_of(length: int, high: Int64, low: Int64) -> tuple[Int64, Int64]:
    """Return the first addresses of the ranges of so many bits that these are in."""
    if length == WHOLE:
        return high, low
    return high & _mask(min(length, 64)), low & _mask(max(length - 64, 0))


def _mask(bits: int) -> int:
    """Return the mask of the first bits of a signed integer of 64."""
    return -1 << (64 - bits) if bits else 0


def is_mapped(high: Int64, low: Int64) -> Bool:
    """Tell which addresses are IPv4-mapped."""
    mapped: Bool = (high == 0) & ((low >> 32) == 0xFFFF)
    return mapped


def is_public(high: Int64, low: Int64) -> Bool:
    """Tell which addresses mean the same everywhere."""
    mapped = is_mapped(high, low)
    public: Bool = mapped | ((high >> 61) == 1)  # 2000::/3
    chosen = np.flatnonzero(mapped)
    quad = low[chosen] & 0xFFFF_FFFF
    for base, length in _NOT_PUBLIC:
        public[chosen] &= (quad >> (32 - length)) != (base >> (32 - length))
    return public


def address_texts(high: Int64, low: Int64) -> pa.StringArray:
    """Return the text of each address; IPv4-mapped ones as dotted quads."""
    mapped = is_mapped(high, low)
    texts = _dotted_quads(low)
    if mapped.all():
        return texts
    other = np.flatnonzero(~mapped)
    packed = np.empty((len(other), 2), ">i8")
    packed[:, 0], packed[:, 1] = high[other], low[other]
    data = packed.tobytes()
    ipv6 = [
        socket.inet_ntop(socket.AF_INET6, data[at : at + 16])
        for at in range(0, len(data), 16)
    ]
    replaced: pa.StringArray = pc.replace_with_mask(
        texts, pa.array(~mapped), pa.array(ipv6, pa.string())
    )
    return replaced


def _dotted_quads(low: Int64) -> pa.StringArray:
    first, second, third, fourth = (
        _OCTETS.take((low >> shift) & 0xFF) for shift in (24, 16, 8, 0)
    )
    dot = pa.array(["."]).take(np.zeros(len(low), np.int8))
    joined: pa.StringArray = pc.binary_join_element_wise(
        first, second, third, fourth, dot
    )
    return joined
