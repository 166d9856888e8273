"""Addresses as text, for whole columns of distinct ones."""

from __future__ import annotations

import socket

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.reducer.keys import Int64

_OCTETS = pa.array([str(octet) for octet in range(256)])


def address_texts(high: Int64, low: Int64) -> pa.StringArray:
    """Return the text of each address; IPv4-mapped ones as dotted quads."""
    mapped = (high == 0) & ((low >> 32) == 0xFFFF)
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
