"""Which addresses sockets of watched hosts have, as their rows told: bounded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.memory import is_in
from ebpf_net.reducer.rows import Rows

_MOST = 200_000
_KEEP_WINDOWS = 360


class Watched:
    """Addresses and the hosts that have them. Not thread-safe."""

    def __init__(self) -> None:
        self._address = np.empty(0, np.int64)
        self._host = np.empty(0, np.int64)
        self._last = np.empty(0, np.int64)  # window in which a row had it
        self._live: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self._address)

    def note(self, rows: Rows, host: Int64, window: int, live: frozenset[int]) -> None:
        """Learn of a window's rows and their hosts; ``live`` still report."""
        self._live = live
        own = [rows.int64(f"local_address_{half}") for half in ("high", "low")]
        outer = np.flatnonzero(rows.is_client & (rows.int64("translation_id") != 0))
        ends = rows.addresses
        address = np.concatenate(
            [
                combine(*own),
                combine(ends.client_high[outer], ends.client_low[outer]),
                self._address,
            ]
        )
        hosts = np.concatenate([host, host[outer], self._host])
        new = np.full(len(address) - len(self._last), window)
        last = np.concatenate([new, self._last])
        _, first = np.unique(combine(address, hosts), return_index=True)
        first = first[last[first] > window - _KEEP_WINDOWS]
        if len(first) > _MOST:
            first = first[np.argsort(-last[first], kind="stable")[:_MOST]]
        self._address, self._host = address[first], hosts[first]
        self._last = last[first]

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
        self._address, self._host, self._last = address, host, last

    def anywhere(self, addresses: Int64) -> Bool:
        """Tell which of these are addresses of a host that reports."""
        reporting = is_in(self._host, self._live)
        return np.isin(addresses, self._address[reporting])

    def on_host(self, addresses: Int64, hosts: Int64) -> Bool:
        """Tell which of these are addresses of that host."""
        return np.isin(combine(addresses, hosts), combine(self._address, self._host))
