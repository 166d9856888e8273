"""The 64-bit keys of edges, endpoints and ends, made with NumPy over whole columns.

One integer in place of seven columns makes sorting and comparing cheap. Each column
goes through the full finalizer of MurmurHash3, so a million different keys collide with
a chance of 3e-8; the values do not depend on library versions and may be kept on disk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]
Bool = NDArray[np.bool_]

_CHUNK = 1 << 15  # elements; the working set stays in the second-level cache
_MULTIPLIER_1 = np.uint64(0xFF51AFD7ED558CCD)
_MULTIPLIER_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)


def text_key(*parts: str) -> int:
    """Return the signed 64-bit key of some strings."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def combine(first: Int64, *columns: Int64) -> Int64:
    """Return one key for each row of the columns; all have the same length."""
    key = np.empty(len(first), np.uint64)
    for start in range(0, len(first), _CHUNK):
        part = slice(start, start + _CHUNK)
        chunk = key[part]
        chunk[:] = first[part].view(np.uint64)
        _finalize(chunk)
        for column in columns:
            chunk ^= column[part].view(np.uint64)
            _finalize(chunk)
    return key.view(np.int64)


def _finalize(key: UInt64) -> None:
    # The order xor, finalizer keeps (a, b) and (b, a) apart; the constant keeps zeros
    # from staying zero.
    key += np.uint64(0x9E3779B97F4A7C15)
    key ^= key >> _SHIFT
    key *= _MULTIPLIER_1
    key ^= key >> _SHIFT
    key *= _MULTIPLIER_2
    key ^= key >> _SHIFT


def is_loopback(high: Int64, low: Int64) -> Bool:
    """Tell which addresses are in 127.0.0.0/8 or are ::1."""
    mapped: Bool = (low >> 24) == 0xFFFF7F
    mapped |= low == 1
    mapped &= high == 0
    return mapped


def is_link_local(high: Int64, low: Int64) -> Bool:
    """Tell which addresses are in 169.254.0.0/16 or fe80::/10."""
    result: Bool = (low >> 16) == 0xFFFFA9FE
    result &= high == 0
    result |= (high >> 54) == (0xFE80 >> 6) - (1 << 10)  # the sign is shifted in
    return result


@dataclass(frozen=True)
class EdgeKeys:
    """Keys of rows. ``near`` matches within a host, ``far`` also across hosts.

    ``near_endpoint`` and ``far_endpoint`` are the same without the client's address.
    """

    near: Int64
    far: Int64
    near_endpoint: Int64
    far_endpoint: Int64

    def within(self, scope: Int64) -> EdgeKeys:
        """Return the keys in other scopes; of keys in a scope, those in none."""
        if not scope.any():
            return self
        return EdgeKeys(
            self.near ^ scope,
            self.far ^ scope,
            self.near_endpoint ^ scope,
            self.far_endpoint ^ scope,
        )

    def take(self, chosen: Int64) -> EdgeKeys:
        """Return the keys of the chosen rows."""
        return EdgeKeys(
            self.near[chosen],
            self.far[chosen],
            self.near_endpoint[chosen],
            self.far_endpoint[chosen],
        )


@dataclass(frozen=True)
class Addresses:
    """Both ends' addresses of rows."""

    client_high: Int64
    client_low: Int64
    server_high: Int64
    server_low: Int64


def edge_keys(
    addresses: Addresses, service: Int64, netns: Int64, boot: Int64
) -> EdgeKeys:
    """Return the keys of rows; ``service`` is port and protocol in one number.

    A loopback address means something in one network namespace, a link-local one on one
    host, any other at first on the row's own host and then everywhere.
    """
    ends = addresses
    endpoint = combine(ends.server_high, ends.server_low, service)
    far = combine(endpoint, ends.client_high, ends.client_low)
    loopback = is_loopback(ends.server_high, ends.server_low)
    loopback |= is_loopback(ends.client_high, ends.client_low)
    link = is_link_local(ends.server_high, ends.server_low)
    link |= is_link_local(ends.client_high, ends.client_low)
    link |= loopback
    near, near_endpoint = combine(far, boot), combine(endpoint, boot)
    if link.any():
        local = np.flatnonzero(link)
        far[local], endpoint[local] = near[local], near_endpoint[local]
        # Tried in its namespace first; a veth's other end is in another one.
        near[local] = combine(near[local], netns[local])
        near_endpoint[local] = combine(near_endpoint[local], netns[local])
        inner = np.flatnonzero(loopback)
        far[inner], endpoint[inner] = near[inner], near_endpoint[inner]
    return EdgeKeys(near, far, near_endpoint, endpoint)
