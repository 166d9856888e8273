"""Who was at an address of a place: the owner's row, by port and time.

For any table whose rows say at which address of which place who was from when until
when. An address that changes hands is its owner's of most of a window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.reducer.addresses import WHOLE, first_of, is_public
from ebpf_net.reducer.claims import Claim, Claims, Span
from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.lookups import nobody, only_one
from ebpf_net.reducer.places import Place, address_key, anywhere, place_key

_PORT = 0xFFFF00  # of port and protocol in one number


@dataclass(frozen=True)
class Asked:
    """Addresses, as seen from the places of whoever talks to them.

    ``places`` has for each kind of Place but ANYWHERE a column of row numbers, NOBODY
    where they are in none. ``service`` is port and protocol as in ``keys.edge_keys``:
    port << 8 | protocol; 0 where the end is a client.
    """

    places: tuple[Int64, ...]
    high: Int64
    low: Int64
    service: Int64

    def take(self, index: Int64) -> Asked:
        """Return the chosen ones."""
        places = tuple(place[index] for place in self.places)
        return Asked(places, self.high[index], self.low[index], self.service[index])

    def within(self, kind: Place) -> Seen:
        """Return the addresses as they are in one kind of place."""
        if kind is Place.ANYWHERE:
            place = anywhere(len(self))
        else:
            place = place_key(kind, self.places[kind])
        return see(place, self.high, self.low, self.service)

    def __len__(self) -> int:
        return len(self.high)


@dataclass(frozen=True)
class Seen:
    """Addresses, each in one place; ``key`` is of both."""

    place: Int64  # see place_key
    high: Int64
    low: Int64
    service: Int64
    key: Int64

    def take(self, index: Int64) -> Seen:
        """Return the chosen ones."""
        return Seen(*(column[index] for column in vars(self).values()))

    def first_of(self, length: int) -> Seen:
        """Return the first addresses of the ranges of so many bits that they are in."""
        if length == WHOLE:
            return self
        return see(self.place, *first_of(length, self.high, self.low), self.service)

    def __len__(self) -> int:
        return len(self.key)


def see(place: Int64, high: Int64, low: Int64, service: Int64) -> Seen:
    """Return addresses in places."""
    return Seen(place, high, low, service, combine(place, high, low))


@dataclass(frozen=True)
class Held:
    """Columns: an address of a place, and who was there from when until when.

    ``owner`` is a row of a table, and ``kind`` says which table. An until of 0 is open.
    A ``service`` whose port or protocol is 0 is any. ``tie`` is of ``ties``.
    """

    place: Int64
    high: Int64
    low: Int64
    service: Int64
    owner: Int64
    kind: Int64
    from_ns: Int64
    until_ns: Int64
    tie: Int64

    @property
    def key(self) -> Int64:
        """Keys of the addresses in their places, as those of Seen."""
        return combine(self.place, self.high, self.low)

    def take(self, index: Int64) -> Held:
        """Return the chosen ones."""
        return Held(*(column[index] for column in vars(self).values()))

    def with_public(self, chosen: Bool) -> Held:
        """Add the chosen public addresses as seen from anywhere.

        What several places claim is nobody's there.
        """
        index = np.flatnonzero(chosen & is_public(self.high, self.low))
        if not len(index):
            return self
        alone = only_one(
            address_key(self.high[index], self.low[index]), self.place[index]
        )
        public = self.take(index[alone])
        public = replace(public, place=anywhere(len(public.place)))
        pairs = zip(vars(self).values(), vars(public).values(), strict=True)
        return Held(*(np.concatenate(pair) for pair in pairs))


class AddressNames:
    """Finds who was at addresses.

    ``length`` has the bits of each prefix, of 128, for tables with ranges: their
    addresses are the first ones then. The longest prefix goes first, then a port.
    """

    def __init__(self, held: Held, length: Int64 | None = None) -> None:
        service = held.service
        if length is None:
            length = np.full(len(service), WHOLE, np.int64)
        key = _with_length(_with_service(held.key, service), length)
        self._claims = Claims(
            Claim(key, held.owner, held.from_ns, held.until_ns, held.tie)
        )
        shape = np.where(service >> 8, _PORT, 0) | np.where(service & 0xFF, 0xFF, 0)
        shapes = np.unique(length << 32 | shape).tolist()
        self._shapes = [(one >> 32, one & 0xFFFF_FFFF) for one in reversed(shapes)]

    def find(self, seen: Seen, span: Span) -> Int64:
        """Return the owner of each address, or NOBODY."""
        found = nobody(len(seen))
        for length, shape in self._shapes:
            key = _with_service(seen.first_of(length).key, seen.service & shape)
            if length != WHOLE:
                key = _with_length(key, np.full(len(key), length, np.int64))
            owner = self._claims.find(key, span)
            found = np.where(found >= 0, found, owner)
        return found


def ties(key: Int64, column: pa.ChunkedArray[Any]) -> Int64:
    """Return the order of the texts of rows with the same key; 0 where it is alone.

    It decides between rows that began at the same time, whatever their order is.
    """
    order_of = np.zeros(len(key), np.int64)
    _, number, count = np.unique(key, return_inverse=True, return_counts=True)
    again = np.flatnonzero(count[number] > 1)
    if len(again):
        order = pc.sort_indices(column.take(again)).to_numpy()
        order_of[again[order]] = np.arange(len(order))
    return order_of


def _with_service(key: Int64, service: Int64) -> Int64:
    """Return the keys with their port and protocol, where there is either."""
    told = np.flatnonzero(service)
    if not len(told):
        return key
    if len(told) == len(key):
        return combine(key, service)
    key = key.copy()
    key[told] = combine(key[told], service[told])
    return key


def _with_length(key: Int64, length: Int64) -> Int64:
    """Return the keys with the length of their prefix, where that is not all."""
    ranges = np.flatnonzero(length != WHOLE)
    if not len(ranges):
        return key
    key = key.copy()
    key[ranges] = combine(key[ranges], length[ranges])
    return key
