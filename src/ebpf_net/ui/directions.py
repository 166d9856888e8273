"""Who connected to whom, remembered for connections that outlive their first window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ebpf_net.ui.pairs import Int64, Pairs, identities, turn
from ebpf_net.ui.text_columns import values

_MAX_PAIRS = 200_000
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)


class Directions:
    """Pairs whose client was seen, by a hash of both ends and the protocol."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.uint64)
        self._clients = np.zeros(0, np.int64)

    def apply(self, pairs: Pairs) -> Pairs:
        """Learn from pairs whose client is known, and turn the others as remembered."""
        ends = np.array(
            [hash(name) for name in values(identities(pairs.nodes))], np.int64
        ).view(np.uint64)
        left, right = ends[pairs.left], ends[pairs.right]
        keys = _keys(np.minimum(left, right), np.maximum(left, right), pairs.protocol)
        sign = np.where(left <= right, 1, -1)
        remembered = self._find(keys) * sign
        self._learn(keys, pairs.clients * sign)
        return turn(pairs, (pairs.clients == 0) & (remembered < 0))

    def _find(self, keys: npt.NDArray[np.uint64]) -> Int64:
        """Return 1 or -1 for what is known, else 0."""
        if not len(self._keys):
            return np.zeros(len(keys), np.int64)
        found = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return np.where(self._keys[found] == keys, self._clients[found], 0)

    def _learn(self, keys: npt.NDArray[np.uint64], clients: Int64) -> None:
        is_known = clients != 0
        new_keys, new_clients = keys[is_known], clients[is_known]
        if len(self._keys) + len(new_keys) <= _MAX_PAIRS:
            new_keys = np.concatenate((new_keys, self._keys))
            new_clients = np.concatenate((new_clients, self._clients))
        self._keys, first = np.unique(new_keys, return_index=True)
        self._clients = new_clients[first]


def _keys(
    low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64], protocol: Int64
) -> npt.NDArray[np.uint64]:
    mixed = low * _MIX[0] + high * _MIX[1] + protocol.astype(np.uint64)
    result: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(29))
    return result
