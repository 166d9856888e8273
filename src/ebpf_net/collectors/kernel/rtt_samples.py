"""One round-trip time for each socket and window: the latest.

A socket's record of its close is its last, so most samples need not be kept at all;
those of sockets that live on wait for the window's end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.key_index import Hashes

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RttFacts:
    """Smoothed round-trip times of records at ``positions``.

    ``final``: no other sample of the socket follows.
    """

    positions: Int64s
    sockets: Hashes
    time_ns: Int64s
    srtt_us: Int64s
    final: npt.NDArray[np.bool_]


class RttSamples:
    """The samples of one window, before it is known which one is its socket's last."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Int64s, Hashes, Int64s, Int64s]] = []
        self._closed: list[Hashes] = []

    def add(self, rows: Int64s, facts: RttFacts) -> tuple[Int64s, Int64s]:
        """Add samples and their edges; return edges and RTTs of the final ones."""
        final, srtt_us = facts.final, facts.srtt_us
        live = ~final
        if live.any():
            self._waiting.append(
                (rows[live], facts.sockets[live], facts.time_ns[live], srtt_us[live])
            )
        if self._waiting:
            self._closed.append(facts.sockets[final])
        return rows[final], srtt_us[final]

    def latest(self) -> tuple[Int64s, Int64s]:
        """Return edge and RTT of the latest sample of each socket that lives on."""
        if not self._waiting:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows = np.concatenate([waiting[0] for waiting in self._waiting])
        sockets = np.concatenate([waiting[1] for waiting in self._waiting])
        time_ns = np.concatenate([waiting[2] for waiting in self._waiting])
        srtt_us = np.concatenate([waiting[3] for waiting in self._waiting])
        kept = _last_of_each(sockets, time_ns, srtt_us)
        kept = kept[~np.isin(sockets[kept], np.concatenate(self._closed))]
        return rows[kept], srtt_us[kept]


def _last_of_each(sockets: Hashes, time_ns: Int64s, srtt_us: Int64s) -> Int64s:
    """Return positions of each socket's latest sample, the largest of equal times."""
    order = np.argsort(sockets)
    same_as_next = sockets[order][1:] == sockets[order][:-1]
    repeated = np.zeros(sockets.size, np.bool_)
    repeated[order[1:][same_as_next]] = True
    repeated[order[:-1][same_as_next]] = True
    single = np.flatnonzero(~repeated)
    several = np.flatnonzero(repeated)
    ranked = several[np.lexsort((srtt_us[several], time_ns[several], sockets[several]))]
    is_last = np.ones(ranked.size, np.bool_)
    is_last[:-1] = sockets[ranked][1:] != sockets[ranked][:-1]
    return np.concatenate([single, ranked[is_last]])
