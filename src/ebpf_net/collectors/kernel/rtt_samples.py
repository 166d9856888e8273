"""One round-trip time for each socket and window: the latest."""

from __future__ import annotations

import numpy as np

from ebpf_net.collectors.kernel.edge_facts import Int64s, RttFacts
from ebpf_net.collectors.kernel.key_index import Hashes


class RttSamples:
    """The samples of one window, before it is known which one is its socket's last."""

    def __init__(self) -> None:
        self._rows: list[Int64s] = []
        self._facts: list[RttFacts] = []

    def add(self, rows: Int64s, facts: RttFacts) -> None:
        """Add samples and the edges that they belong to."""
        if rows.size:
            self._rows.append(rows)
            self._facts.append(facts)

    def latest(self) -> tuple[Int64s, Int64s]:
        """Return edge and smoothed RTT of each socket's latest sample."""
        if not self._rows:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows = np.concatenate(self._rows)
        srtt_us = np.concatenate([facts.srtt_us for facts in self._facts])
        sockets = np.concatenate([facts.sockets for facts in self._facts])
        time_ns = np.concatenate([facts.time_ns for facts in self._facts])
        kept = _last_of_each(sockets, time_ns, srtt_us)
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
