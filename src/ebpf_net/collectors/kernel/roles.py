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
from ebpf_net.collectors.kernel.records import TCP_RECORD, TcpFlag
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
        self._owned = np.empty(0, TCP_RECORD)  # listeners whose children have no owner

    def observe_listeners(self, records: npt.NDArray[Any]) -> None:
        """Take note of LISTENER records, which say where a socket listens."""
        if not records.size:
            return
        high, low = address_halves(records["local_address"])
        places = _listening_places(records, high, low)
        sockets = np.where(records["cookie"] == 0, places, records["cookie"])
        beneath_mptcp = records[(records["cookie"] == 0) & (records["pid"] != 0)]
        if beneath_mptcp.size:
            owned = np.concatenate([self._owned, beneath_mptcp])
            self._owned = owned[-_MAX_LISTENERS:]
        closed = (records["flags"] & TcpFlag.CLOSED) != 0
        self._listeners.put(sockets[~closed], places[~closed])
        self._listeners.discard(sockets[closed])

    def fill_owners(self, records: npt.NDArray[Any], roles: Int64s) -> npt.NDArray[Any]:
        """Return the records with the listener's owner where the kernel had none.

        So it is for what an MPTCP listener accepts that was there before the collector:
        only the listener's file leads to its owner, and no program gets from there to
        the socket that accepts.
        """
        orphans = np.flatnonzero((records["pid"] == 0) & (roles == Role.SERVER))
        if not orphans.size or not self._owned.size:
            return records
        owned = _listening_places(
            self._owned, *address_halves(self._owned["local_address"])
        )
        order = np.argsort(owned)
        places = _candidate_places(records[orphans])
        filled = records.copy()
        for candidate in places:
            found = np.searchsorted(owned[order], candidate)
            found[found == owned.size] = 0
            hit = owned[order][found] == candidate
            for field in ("pid", "owner_start_ns", "comm"):
                filled[field][orphans[hit]] = self._owned[field][order[found[hit]]]
        return filled

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
        is_server = np.zeros(records.size, np.bool_)
        for places in _candidate_places(records):
            is_server |= np.isin(places, self._listeners.values)
        return np.where(is_server, Role.SERVER, Role.CLIENT).astype(np.int64)


def _candidate_places(records: npt.NDArray[Any]) -> list[npt.NDArray[np.uint64]]:
    """Return where a listener would have to be to accept a socket: at its address, or
    at either wildcard; the one of IPv4 is out of the question for IPv6."""
    high, low = address_halves(records["local_address"])
    nothing = np.zeros_like(high)
    is_mapped = (high == 0) & (low >> 32 == MAPPED_PREFIX >> 32)
    mapped = np.where(is_mapped, MAPPED_PREFIX, 0)
    return [
        _listening_places(records, high, low),
        _listening_places(records, nothing, nothing),
        _listening_places(records, nothing, mapped),
    ]


def _listening_places(
    records: npt.NDArray[Any], high: Int64s, low: Int64s
) -> npt.NDArray[np.uint64]:
    return hash_columns([records["netns"], records["local_port"], high, low])
