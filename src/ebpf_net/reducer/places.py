"""Places: where an address means one thing, such as a cluster.

Several clusters may use the same private addresses. What an address means depends on
where who talks to it is: it is looked up in each of those places, in their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.lookups import NOBODY, Lookup, only_one, pick


class Place(IntEnum):
    """Kinds of places, in the order in which an address is looked up in them."""

    CLUSTER = 0  # of whoever talks to the address
    ANYWHERE = 1  # what means the same to everybody: public addresses


@dataclass(frozen=True)
class Places:
    """All places of one kind: rows of a table, who is in which, and what they share."""

    keys: Int64  # of each place, the same in every window
    of_host: Int64  # the place of each row of hosts, or NOBODY
    of_cgroup: Int64  # that of each row of cgroups, where one says more than its host
    shared: Lookup  # addresses that several of these places have, see address_key

    def of(self, host: Int64, cgroup: Int64) -> Int64:
        """Return the place of rows by their host and cgroup."""
        own = pick(self.of_cgroup, cgroup)
        return np.where(own >= 0, own, pick(self.of_host, host))


def address_key(high: Int64, low: Int64) -> Int64:
    """Return the key of addresses, wherever they are."""
    return combine(high, low)


def place_key(kind: Place, number: Int64) -> Int64:
    """Return the key of places of a kind by their number; NOBODY has no key's."""
    return np.where(number >= 0, number * len(Place) + kind, NOBODY)


def anywhere(count: int) -> Int64:
    """Return the key of the place of what means the same to everybody."""
    return np.full(count, int(Place.ANYWHERE), np.int64)


def all_shared(kinds: Iterable[Places]) -> Lookup:
    """Return a lookup of the addresses that several places of any of the kinds have."""
    return Lookup(np.concatenate([places.shared.keys for places in kinds]))


def shared_addresses(place: Int64, high: Int64, low: Int64) -> Lookup:
    """Return a lookup of the addresses that more than one of these places has."""
    address = address_key(high, low)
    several: Bool = ~only_one(address, place)
    return Lookup(np.unique(address[several]))
