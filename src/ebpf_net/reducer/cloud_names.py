"""Which network interface of a cloud has an address: by VPC and time.

A private address means something in one VPC: that of whoever talks to it, else the only
one that has it. Public addresses mean the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ebpf_net.reducer.address_names import AddressNames, Asked, Held, Seen, see, ties
from ebpf_net.reducer.addresses import WHOLE
from ebpf_net.reducer.claims import Span
from ebpf_net.reducer.cloud_tables import Clouds
from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.lookups import is_blank, nobody
from ebpf_net.reducer.places import (
    Holders,
    Place,
    Ranges,
    anywhere,
    place_key,
    shared_addresses,
)
from ebpf_net.reducer.rows import address_columns, int64_column


class CloudNames:
    """Lookups of the addresses of all interfaces; made anew when a table changes.

    ``shared`` are the addresses that several VPCs have, and ``holding`` all with the
    VPCs that have them.
    """

    def __init__(self, clouds: Clouds, network_of_own: Int64) -> None:
        """``network_of_own`` has the VPC of each row of ``instance_addresses``."""
        network = clouds.network_of["addresses"]
        table = clouds["addresses"]
        high, low = address_columns(table, "address")
        length = int64_column(table, "prefix_length")
        place, *ranges = _private(clouds, network_of_own)
        first_high, first_low, bits = ranges
        self.holding = Ranges(first_high, first_low, bits, place)
        self.shared = shared_addresses(place, first_high, first_low, bits)
        self._holders = Holders(place, first_high, first_low, bits)
        known = (clouds.owner >= 0) & ((network >= 0) | is_blank(table["network"]))
        chosen = np.flatnonzero(known)
        self._names = AddressNames(
            _held(clouds, high, low, network).take(chosen), length[chosen]
        )
        self._count = len(chosen)

    def __len__(self) -> int:
        return self._count

    def find_in(self, network: Int64, high: Int64, low: Int64, span: Span) -> Int64:
        """Return the interface that has each address in a VPC, or NOBODY."""
        place = place_key(Place.NETWORK, network)
        zero = np.zeros(len(high), np.int64)
        return self._names.find(see(place, high, low, zero), span)

    def find_own(self, network: Int64, high: Int64, low: Int64, span: Span) -> Int64:
        """Return the interface with an address of a host that is in that VPC."""
        found = self.find_in(network, high, low, span)
        left = np.flatnonzero(found < 0)
        zero = np.zeros(len(left), np.int64)
        public = see(anywhere(len(left)), high[left], low[left], zero)
        found[left] = self._names.find(public, span)
        return found

    def find(self, asked: Asked, strangers: Bool, span: Span) -> Int64:
        """Return the interface that has each address, or NOBODY.

        Only ``strangers`` are looked for in VPCs that are not of whoever asks.
        """
        found = nobody(len(asked))
        if not len(self):
            return found
        found = self._names.find(_any_port(asked.within(Place.NETWORK)), span)
        left = np.flatnonzero((found < 0) & strangers)
        high, low = asked.high[left], asked.low[left]
        found[left] = self.find_in(self._holders.find(high, low), high, low, span)
        left = np.flatnonzero(found < 0)
        public = asked.take(left).within(Place.ANYWHERE)
        found[left] = self._names.find(_any_port(public), span)
        return found


def _private(clouds: Clouds, network_of_own: Int64) -> Iterator[Int64]:
    """Yield VPC, address and length of all private ranges, whoever told of them."""
    network = clouds.network_of["addresses"]
    far, own = np.flatnonzero(network >= 0), np.flatnonzero(network_of_own >= 0)
    table, told = clouds["addresses"], clouds["instance_addresses"]
    yield np.concatenate([network[far], network_of_own[own]])
    for one, other in zip(
        address_columns(table, "address"),
        address_columns(told, "private_address"),
        strict=True,
    ):
        yield np.concatenate([one[far], other[own]])
    length = int64_column(table, "prefix_length")[far]
    yield np.concatenate([length, np.full(len(own), WHOLE, np.int64)])


def _any_port(seen: Seen) -> Seen:
    zero = np.zeros(len(seen), np.int64)
    return see(seen.place, seen.high, seen.low, zero)


def _held(clouds: Clouds, high: Int64, low: Int64, network: Int64) -> Held:
    table = clouds["addresses"]
    count = len(network)
    inside = place_key(Place.NETWORK, network)
    place = np.where(network >= 0, inside, anywhere(count))
    from_ns, until_ns = int64_column(table, "from_ns"), int64_column(table, "until_ns")
    length = int64_column(table, "prefix_length")
    tie = ties(combine(place, high, low, length, from_ns), table["address_key"])
    zero = np.zeros(count, np.int64)
    return Held(place, high, low, zero, clouds.owner, zero, from_ns, until_ns, tie)
