"""Which addresses sockets of watched hosts have, as their rows told: bounded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.memory import find, is_in
from ebpf_net.reducer.rows import PUBLIC, Rows

_MOST = 200_000
_KEEP_WINDOWS = 360


class Watched:
    """Addresses and the hosts that have them. Not thread-safe."""

    def __init__(self) -> None:
        self._key = np.empty(0, np.int64)  # of address and host, sorted
        self._address = np.empty(0, np.int64)
        self._host = np.empty(0, np.int64)
        self._last = np.empty(0, np.int64)  # window in which a row had it
        self._reporting = np.empty(0, np.int64)  # sorted addresses

    def __len__(self) -> int:
        return len(self._key)

    def note(self, rows: Rows, host: Int64, window: int, live: frozenset[int]) -> None:
        """Learn of a window's rows and their hosts; ``live`` still report."""
        own = [rows.int64(f"local_address_{half}") for half in ("high", "low")]
        is_seen = (rows.int64("translation_id") != 0) | (rows.int64(PUBLIC) != 0)
        outer = np.flatnonzero(rows.is_client & is_seen)
        ends = rows.addresses
        address = np.concatenate(
            [combine(*own), combine(ends.client_high[outer], ends.client_low[outer])]
        )
        self._learn(address, np.concatenate([host, host[outer]]), window)
        self._forget(window)
        self._reporting = np.sort(self._address[is_in(self._host, live)])

    def to_arrays(self) -> dict[str, Int64]:
        """Return what a restart needs."""
        return {"address": self._address, "host": self._host, "last": self._last}

    def from_arrays(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take what to_arrays returned. Raises ValueError if it is not that."""
        address, host, last = (
            arrays[name].astype(np.int64) for name in ("address", "host", "last")
        )
        if not address.shape == host.shape == last.shape == (len(address),):
            raise ValueError("watched addresses without their hosts")
        self._put(combine(address, host), address, host, last)

    def anywhere(self, addresses: Int64) -> Bool:
        """Tell which of these are addresses of a host that reports."""
        return find(self._reporting, addresses) >= 0

    def on_host(self, addresses: Int64, hosts: Int64) -> Bool:
        """Tell which of these are addresses of that host."""
        return find(self._key, combine(addresses, hosts)) >= 0

    def _learn(self, address: Int64, host: Int64, window: int) -> None:
        key = combine(address, host)
        place = find(self._key, key)
        self._last = self._last.copy()  # what to_arrays gave stays as it was
        known = place[place >= 0]
        self._last[known] = np.maximum(self._last[known], window)
        unknown = np.flatnonzero(place < 0)
        if len(unknown):
            new, first = np.unique(key[unknown], return_index=True)
            chosen = unknown[first]
            self._put(
                np.concatenate([self._key, new]),
                np.concatenate([self._address, address[chosen]]),
                np.concatenate([self._host, host[chosen]]),
                np.concatenate([self._last, np.full(len(new), window)]),
            )

    def _forget(self, window: int) -> None:
        """Drop what no row has had for long, and the oldest over the bound."""
        kept = self._last > window - _KEEP_WINDOWS
        if np.count_nonzero(kept) > _MOST:
            kept[np.argsort(-self._last, kind="stable")[_MOST:]] = False
        if not kept.all():
            self._put(
                self._key[kept],
                self._address[kept],
                self._host[kept],
                self._last[kept],
            )

    def _put(self, key: Int64, address: Int64, host: Int64, last: Int64) -> None:
        order = np.argsort(key)
        self._key, self._address = key[order], address[order]
        self._host, self._last = host[order], last[order]
