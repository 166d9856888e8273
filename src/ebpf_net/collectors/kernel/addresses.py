"""Columns of 16-byte addresses, IPv4 as ``::ffff:a.b.c.d``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MAPPED_PREFIX = 0xFFFF << 32
_LOOPBACK_NETWORK = MAPPED_PREFIX >> 24 | 127  # ::ffff:127.0.0.0/104
_IPV6_LOOPBACK = 1


def address_halves(
    addresses: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split a column of 16 bytes each into big-endian halves, as signed integers."""
    halves = np.ascontiguousarray(addresses).view(">i8")
    return halves[:, 0].astype(np.int64), halves[:, 1].astype(np.int64)


def are_loopback(addresses: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Say which addresses are in 127.0.0.0/8 or are ::1."""
    high, low = address_halves(addresses)
    local = (low >> 24 == _LOOPBACK_NETWORK) | (low == _IPV6_LOOPBACK)
    result: npt.NDArray[np.bool_] = (high == 0) & local
    return result
