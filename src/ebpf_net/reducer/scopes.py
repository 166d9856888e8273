"""Where an address means something: in its place, if another one has it too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ebpf_net.reducer.keys import Bool, EdgeKeys, Int64, combine
from ebpf_net.reducer.known import Known
from ebpf_net.reducer.lookups import NOBODY, Lookup, only_one, pick
from ebpf_net.reducer.memory import KnownKeys, find_ends
from ebpf_net.reducer.places import Places, Ranges
from ebpf_net.reducer.rows import Rows

EVERYWHERE = 0
"""The scope of rows whose addresses mean the same to everybody."""
OUTSIDE = 1
"""That of rows of hosts in no place with addresses that mean something in several."""


def scopes_of(rows: Rows, known: Known) -> Int64:
    """Return the scope of each row: only rows of one scope may be of one connection.

    It is the key of the place of the row's host where either address is of more than
    one such place, of which that is one. Other rows with such an address are OUTSIDE.
    Addresses are meant as the server sees them, as in the keys of rows.
    """
    scope = np.full(len(rows), EVERYWHERE, np.int64)
    for places in known.places.values():
        if len(places.shared):
            client, server = _are_shared(rows, places)
            chosen = np.flatnonzero((scope == EVERYWHERE) & (client | server))
            place = _places_of_rows(rows, chosen, places, known)
            ends = rows.addresses
            inside = client[chosen] & places.hold(
                place, ends.client_high[chosen], ends.client_low[chosen]
            )
            inside |= server[chosen] & places.hold(
                place, ends.server_high[chosen], ends.server_low[chosen]
            )
            place = np.where(inside, place, NOBODY)
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


def scopes_of_sources(sources: Int64, known: Known) -> tuple[tuple[Int64, Ranges], ...]:
    """Return the scopes of addresses that several places have, as each host means them.

    For each kind of places the scope of each source, and what is in such a scope; the
    first counts. One of several places is not told by what a host translates.
    """
    host = known.host.find(sources)
    return tuple(
        (pick(places.keys, pick(places.of_host, host), OUTSIDE), places.shared)
        for places in known.places.values()
        if len(places.shared)
    )


def _places_of_rows(rows: Rows, chosen: Int64, places: Places, known: Known) -> Int64:
    source, cgroup = rows.source[chosen], rows.int64("cgroup_id")[chosen]
    own = (rows.int64(f"local_address_{half}")[chosen] for half in ("high", "low"))
    return places.of(
        known.host.find(source), known.cgroup.find(combine(source, cgroup)), *own
    )


def _are_shared(rows: Rows, places: Places) -> tuple[Bool, Bool]:
    """Tell of which rows the client's and the server's address are of several."""
    ends = rows.addresses
    return (
        places.shared.has(ends.client_high, ends.client_low),
        places.shared.has(ends.server_high, ends.server_low),
    )
