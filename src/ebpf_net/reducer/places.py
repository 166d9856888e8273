"""Places: where an address means one thing, such as a cluster.

Several clusters may use the same private addresses, and so may networks of a cloud.
What an address means depends on where who talks to it is: it is looked up in each of
those places, in their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ebpf_net.reducer.addresses import WHOLE, first_of
from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.lookups import NOBODY, Lookup, nobody, only_one, pick

SEVERAL = -2
"""In place of the number of the one place that has an address."""


class Place(IntEnum):
    """Kinds of places, in the order in which an address is looked up in them."""

    CLUSTER = 0  # of whoever talks to the address
    NETWORK = 1  # the VPC of whoever does
    ANYWHERE = 2  # what means the same to everybody: public addresses


class Ranges:
    """A set of addresses and ranges of them, or of pairs of a place and one of those.

    ``length`` has the bits of each prefix, of 128; None: they are all addresses.
    """

    def __init__(
        self,
        high: Int64,
        low: Int64,
        length: Int64 | None = None,
        place: Int64 | None = None,
    ) -> None:
        key = _key(high, low, place)
        if length is None:
            length = np.full(len(key), WHOLE, np.int64)
        self._keys = {
            one: Lookup(key[length == one]) for one in np.unique(length).tolist()
        }

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._keys.values())

    def has(self, high: Int64, low: Int64, place: Int64 | None = None) -> Bool:
        """Tell which addresses are in the set, or with a place which pairs are."""
        inside = np.zeros(len(high), np.bool_)
        for length, keys in self._keys.items():
            inside |= keys.find(_key(*first_of(length, high, low), place)) >= 0
        return inside


class Holders:
    """Which place alone has an address; for places with ranges, see ``Ranges``."""

    def __init__(self, place: Int64, high: Int64, low: Int64, length: Int64) -> None:
        self._parts: list[tuple[int, Lookup]] = []
        for one in np.unique(length).tolist():
            chosen = np.flatnonzero(length == one)
            key = address_key(high[chosen], low[chosen])
            holder = np.where(only_one(key, place[chosen]), place[chosen], SEVERAL)
            self._parts.append((one, Lookup(key, holder)))

    def find(self, high: Int64, low: Int64, most: int = WHOLE) -> Int64:
        """Return the place of each address, SEVERAL or NOBODY.

        Of ranges with longer prefixes than ``most`` nothing is known.
        """
        found = nobody(len(high))
        for length, holders in self._parts:
            if length > most:
                continue
            one = holders.find(address_key(*first_of(length, high, low)))
            same = (found == NOBODY) | (found == one)
            found = np.where(one == NOBODY, found, np.where(same, one, SEVERAL))
        return found


@dataclass(frozen=True)
class Places:
    """All places of one kind: rows of a table, who is in which, and what they share."""

    keys: Int64  # of each place, the same in every window
    of_host: Int64  # the place of each row of hosts, or NOBODY
    of_cgroup: Int64  # that of each row of cgroups, where one says more than its host
    shared: Ranges  # addresses that several of these places have
    of_address: Lookup | None = None  # by host_address_key, if hosts are in several
    holding: Ranges | None = None  # what each place has; None: anything

    def of(self, host: Int64, cgroup: Int64, high: Int64, low: Int64) -> Int64:
        """Return the place of rows by their host, cgroup and own address."""
        own = pick(self.of_cgroup, cgroup)
        if self.of_address is not None:
            by_address = self.of_address.find(host_address_key(host, high, low))
            own = np.where(own >= 0, own, by_address)
        return np.where(own >= 0, own, pick(self.of_host, host))

    def hold(self, place: Int64, high: Int64, low: Int64) -> Bool:
        """Tell which addresses are of their place, if it is one at all."""
        if self.holding is None:
            return np.ones(len(place), np.bool_)
        return self.holding.has(high, low, place)


def address_key(high: Int64, low: Int64) -> Int64:
    """Return the key of addresses, wherever they are."""
    return combine(high, low)


def host_address_key(host: Int64, high: Int64, low: Int64) -> Int64:
    """Return the key of addresses of hosts, which are rows of a table."""
    return combine(host, high, low)


def place_key(kind: Place, number: Int64) -> Int64:
    """Return the key of places of a kind by their number; NOBODY has no key's."""
    return np.where(number >= 0, number * len(Place) + kind, NOBODY)


def anywhere(count: int) -> Int64:
    """Return the key of the place of what means the same to everybody."""
    return np.full(count, int(Place.ANYWHERE), np.int64)


def shared_addresses(
    place: Int64, high: Int64, low: Int64, length: Int64 | None = None
) -> Ranges:
    """Return the addresses that more than one of these places has.

    What two ranges have in common is the one that is in the other.
    """
    if length is None:
        several: Bool = ~only_one(address_key(high, low), place)
    else:
        several = np.zeros(len(place), np.bool_)
        holders = Holders(place, high, low, length)
        for one in np.unique(length).tolist():
            chosen = np.flatnonzero(length == one)
            holder = holders.find(high[chosen], low[chosen], one)
            several[chosen] = holder == SEVERAL
        length = length[several]
    return Ranges(high[several], low[several], length)


def _key(high: Int64, low: Int64, place: Int64 | None) -> Int64:
    key = address_key(high, low)
    return key if place is None else combine(key, place)
