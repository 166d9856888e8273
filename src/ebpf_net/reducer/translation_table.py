"""The translations that hosts told of, sorted for looking them up by what rows say.

Addresses mean something in their scope (see ``scopes.py``): what a host of one cluster
has translated says nothing of another cluster's addresses. A translator in no cluster
says nothing of addresses that several clusters have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.lookups import Lookup
from ebpf_net.reducer.rows import int64_column
from ebpf_net.reducer.scopes import EVERYWHERE


@dataclass(frozen=True)
class TranslationTable:
    """Distinct translations. Keys are as in the scope of who told of them.

    ``wanted`` are what clients ask for, sorted, with ``place`` in the other columns:
    of all hosts, and again of each host alone.
    """

    table: pa.Table
    wanted: Int64
    place: Int64
    seen: Int64  # the far key of the server's row
    endpoint: Int64  # the server's far endpoint key
    scope: Int64  # of these two
    identity: Int64
    by_identity: Lookup
    told: Int64  # what the server sees and the collector that told it; sorted
    lonely: Bool  # no other client is behind the same outer address to this server
    hiding: Int64  # places where the server sees another address, in order of ``seen``

    def __len__(self) -> int:
        return len(self.seen)

    def options(self, asked: Int64) -> tuple[Int64, Int64]:
        """Return the first of ``place`` and the number of translations of each key."""
        first = np.searchsorted(self.wanted, asked, "left")
        return first, np.searchsorted(self.wanted, asked, "right") - first

    def column(self, name: str) -> Int64:
        """Return a column widened to 64 bits."""
        return int64_column(self.table, name)


@dataclass(frozen=True)
class Tellers:
    """For each row of translations the host, collector and scope of who told of it.

    ``shared`` finds the addresses that mean something in that scope only.
    """

    boot: Int64
    collector: Int64
    scope: Int64
    shared: Lookup


def sort_translations(translations: pa.Table, tellers: Tellers) -> TranslationTable:
    """Sort translations and leave out what repeats or changes nothing."""
    client, service, server, outer = (
        _pair(translations, f"{end}_address")
        for end in ("client", "service", "server", "outer")
    )
    protocol = int64_column(translations, "protocol")
    services = [
        int64_column(translations, f"{end}_port") << 8 | protocol
        for end in ("service", "server")
    ]
    plain = combine(*client, *service, services[0])
    changed = combine(*outer, *server, services[1]) != plain
    scope = _scopes(tellers, outer, server)
    asked = plain ^ _scopes(tellers, client, service)
    endpoint = combine(*server, services[1])
    seen = combine(endpoint, *outer) ^ scope
    rows = np.flatnonzero(changed)
    order, number = _distinct(asked[rows], seen[rows])
    chosen = rows[order]
    at_host = combine(asked[rows], tellers.boot[rows])
    own, _ = _distinct(at_host, seen[rows])
    wanted = np.concatenate([asked[chosen], at_host[own]])
    place = np.concatenate([np.arange(len(chosen)), number[own]])
    sorting = np.argsort(wanted, kind="stable")
    identity = int64_column(translations, "translation_id")[chosen]
    hides = np.flatnonzero((combine(*client) != combine(*outer))[chosen])
    return TranslationTable(
        translations.take(chosen),
        wanted[sorting],
        place[sorting],
        seen[chosen],
        (endpoint ^ scope)[chosen],
        scope[chosen],
        identity,
        Lookup(identity),
        np.unique(combine(seen[rows], tellers.collector[rows])),
        _has_one_client(seen[chosen], combine(*client)[chosen]),
        hides[np.argsort(seen[chosen][hides], kind="stable")],
    )


class SortedTranslations:
    """Sorts translations only when they, or what is known of their hosts, change."""

    def __init__(self) -> None:
        self._translations: pa.Table | None = None
        self._tellers: Tellers | None = None
        self._sorted: TranslationTable | None = None

    def sort(self, translations: pa.Table, tellers: Tellers) -> TranslationTable:
        """Return the sorted translations."""
        former = self._tellers
        if (
            self._sorted is None
            or former is None
            or translations is not self._translations
            or tellers.shared is not former.shared
            or not np.array_equal(tellers.boot, former.boot)
            or not np.array_equal(tellers.collector, former.collector)
            or not np.array_equal(tellers.scope, former.scope)
        ):
            self._translations, self._tellers = translations, tellers
            self._sorted = sort_translations(translations, tellers)
        return self._sorted


def _scopes(tellers: Tellers, *ends: tuple[Int64, Int64]) -> Int64:
    """Return the scope of keys of these addresses."""
    shared = np.zeros(len(tellers.scope), np.bool_)
    if len(tellers.shared):
        for high, low in ends:
            shared |= tellers.shared.find(combine(high, low)) >= 0
    return np.where(shared, tellers.scope, EVERYWHERE)


def _distinct(asked: Int64, seen: Int64) -> tuple[Int64, Int64]:
    """Return the first of each pair in order, and the number of the pair of each."""
    order = np.lexsort((seen, asked))
    first = np.ones(len(order), np.bool_)
    first[1:] = (asked[order][1:] != asked[order][:-1]) | (
        seen[order][1:] != seen[order][:-1]
    )
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(first) - 1
    return order[first], number


def _pair(table: pa.Table, name: str) -> tuple[Int64, Int64]:
    return int64_column(table, f"{name}_high"), int64_column(table, f"{name}_low")


def _has_one_client(seen: Int64, client: Int64) -> Bool:
    order = np.lexsort((client, seen))
    starts = np.ones(len(order), np.bool_)
    starts[1:] = seen[order][1:] != seen[order][:-1]
    other = np.zeros(len(order), np.bool_)
    other[1:] = ~starts[1:] & (client[order][1:] != client[order][:-1])
    groups = np.cumsum(starts) - 1
    shared = np.bincount(groups, other, groups[-1] + 1 if len(groups) else 0) > 0
    result = np.empty(len(order), np.bool_)
    result[order] = ~shared[groups]
    return result
