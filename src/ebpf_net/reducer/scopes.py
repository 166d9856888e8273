"""Where an address means something: in its place, if another one has it too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ebpf_net.reducer.keys import Bool, EdgeKeys, Int64, combine
from ebpf_net.reducer.known import Known
from ebpf_net.reducer.lookups import Lookup, only_one, pick
from ebpf_net.reducer.memory import KnownKeys, find_ends
from ebpf_net.reducer.places import Places, address_key
from ebpf_net.reducer.rows import Rows

EVERYWHERE = 0
"""The scope of rows whose addresses mean the same to everybody."""
OUTSIDE = 1
"""That of rows of hosts in no place with addresses that mean something in several."""


def scopes_of(rows: Rows, known: Known) -> Int64:
    """Return the scope of each row: only rows of one scope may be of one connection.

    It is the key of the place of the row's host where either address is of more than
    one such place. Rows of hosts in no such place are OUTSIDE then. Addresses are meant
    as the server sees them, as in the keys of rows.
    """
    scope = np.full(len(rows), EVERYWHERE, np.int64)
    for places in known.places.values():
        if len(places.shared):
            chosen = np.flatnonzero((scope == EVERYWHERE) & _are_shared(rows, places))
            source, cgroup = rows.source[chosen], rows.int64("cgroup_id")[chosen]
            place = places.of(
                known.host.find(source), known.cgroup.find(combine(source, cgroup))
            )
            scope[chosen] = pick(places.keys, place, OUTSIDE)
    return scope


def adopt_scopes(
    scope: Int64, keys: EdgeKeys, places: Int64, parts: Sequence[KnownKeys]
) -> Int64:
    """Let rows from outside be of the place in which their other end is.

    ``keys`` are without scopes; ``places`` has the scope of each, and ``parts`` what is
    known of rows before. Rows of which several places tell stay OUTSIDE.
    """
    outside = np.flatnonzero(scope == OUTSIDE)
    if not len(outside):
        return scope
    scope = scope.copy()
    inside = np.flatnonzero((scope != OUTSIDE) & (scope != EVERYWHERE))
    told = only_one(keys.far[inside], scope[inside])
    row = Lookup(keys.far[inside]).find(keys.far[outside])
    adopted = pick(np.where(told, scope[inside], OUTSIDE), row, OUTSIDE)
    unknown = np.flatnonzero(row < 0)
    left = keys.take(outside[unknown])
    count, remembered = np.zeros(len(unknown), np.int64), adopted[unknown]
    for one in np.unique(places):
        found, _ = find_ends(parts, left.near ^ one, left.far ^ one)
        remembered[found] = one
        count += found
    adopted[unknown] = np.where(count == 1, remembered, OUTSIDE)
    scope[outside] = adopted
    return scope


def scopes_of_sources(sources: Int64, known: Known) -> Int64:
    """Return the scope of addresses that several places have, as each host means it.

    One of several clusters is not told by what it translates.
    """
    host = known.host.find(sources)
    scope = np.full(len(sources), OUTSIDE, np.int64)
    for places in known.places.values():
        own = pick(places.keys, pick(places.of_host, host), OUTSIDE)
        scope = np.where(scope == OUTSIDE, own, scope)
    return scope


def _are_shared(rows: Rows, places: Places) -> Bool:
    ends = rows.addresses
    shared = places.shared.find(address_key(ends.client_high, ends.client_low)) >= 0
    shared |= places.shared.find(address_key(ends.server_high, ends.server_low)) >= 0
    return shared
