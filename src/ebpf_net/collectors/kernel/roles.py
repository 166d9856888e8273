"""Which end adopted sockets are: sockets that were open before the collector started.

The kernel does not say who connected. A socket whose local port has a listener in its
network namespace was accepted; all others connected. What was decided for a socket
holds until it closes, even when its listener goes first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.addresses import MAPPED_PREFIX, address_halves
from ebpf_net.collectors.kernel.key_index import Hashes, hash_columns
from ebpf_net.collectors.kernel.records import TcpFlag
from ebpf_net.schema import Role

Int64s = npt.NDArray[np.int64]

_MAX_LISTENERS = 65_536
_MAX_DECISIONS = 262_144


class _BySocket:
    """A number for each of a bounded number of socket cookies, as sorted arrays."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.sockets: Hashes = np.empty(0, np.uint64)
        self.values: npt.NDArray[np.uint64] = np.empty(0, np.uint64)

    def put(self, sockets: Hashes, values: npt.NDArray[np.uint64]) -> None:
        """Remember values; what is beyond the limit is forgotten."""
        all_sockets = np.concatenate([sockets, self.sockets])
        all_values = np.concatenate([values, self.values])
        distinct, first = np.unique(all_sockets, return_index=True)
        self.sockets = distinct[: self._limit]
        self.values = all_values[first[: self._limit]]

    def get(
        self, sockets: Hashes
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint64]]:
        """Return which sockets are known, and the values of these alone."""
        if not self.sockets.size:
            return np.zeros(sockets.size, np.bool_), self.values
        places = np.searchsorted(self.sockets, sockets)
        places[places == self.sockets.size] = 0
        known = self.sockets[places] == sockets
        return known, self.values[places[known]]

    def discard(self, sockets: Hashes) -> None:
        """Forget sockets."""
        if self.sockets.size and sockets.size:
            kept = ~np.isin(self.sockets, sockets)
            self.sockets, self.values = self.sockets[kept], self.values[kept]


class SocketRoles:
    """Listeners, and the roles decided for adopted sockets."""

    def __init__(self) -> None:
        self._listeners = _BySocket(_MAX_LISTENERS)
        self._decisions = _BySocket(_MAX_DECISIONS)
        self._nothing: Hashes = np.empty(0, np.uint64)
        self._closed: list[Hashes] = []

    def observe_listeners(self, records: npt.NDArray[Any]) -> None:
        """Take note of LISTENER records, which say where a socket listens."""
        if not records.size:
            return
        high, low = address_halves(records["local_address"])
        places = _listening_places(records, high, low)
        sockets = np.where(records["cookie"] == 0, places, records["cookie"])
        closed = (records["flags"] & TcpFlag.CLOSED) != 0
        self._listeners.put(sockets[~closed], places[~closed])
        self._listeners.discard(sockets[closed])

    def resolve(self, records: npt.NDArray[Any], sockets: Hashes) -> Int64s:
        """Return the roles of records that have none; ``sockets`` are their cookies."""
        roles = self._decide(records)
        known, values = self._decisions.get(sockets)
        roles[known] = values.astype(np.int64)
        closed = (records["flags"] & TcpFlag.CLOSED) != 0
        fresh = ~known
        if fresh.any():
            self._decisions.put(sockets[fresh], roles[fresh].astype(np.uint64))
        self._closed.append(sockets[closed])
        return roles

    def end_window(self) -> None:
        """Forget sockets that closed; a late reset of theirs would be in by now."""
        self._decisions.discard(np.concatenate([self._nothing, *self._closed]))
        self._closed = []

    def _decide(self, records: npt.NDArray[Any]) -> Int64s:
        listening = self._listeners.values
        high, low = address_halves(records["local_address"])
        nothing = np.zeros_like(high)
        mapped = np.full_like(low, MAPPED_PREFIX)
        is_mapped = (high == 0) & (low >> 32 == MAPPED_PREFIX >> 32)
        is_server = np.isin(_listening_places(records, high, low), listening)
        is_server |= np.isin(_listening_places(records, nothing, nothing), listening)
        is_server |= is_mapped & np.isin(
            _listening_places(records, nothing, mapped), listening
        )
        return np.where(is_server, Role.SERVER, Role.CLIENT).astype(np.int64)


def _listening_places(
    records: npt.NDArray[Any], high: Int64s, low: Int64s
) -> npt.NDArray[np.uint64]:
    return hash_columns([records["netns"], records["local_port"], high, low])
