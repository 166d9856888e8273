"""Public addresses that a cloud gives instances in place of their private ones.

Between two instances with public addresses the client sees its own private and the
server's public address, the server the reverse. Where the other end is public, so is
the own one in the keys of rows: public addresses are unique, private ones are not.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.addresses import is_mapped, is_public
from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.lookups import Lookup
from ebpf_net.reducer.memory import KnownKeys, find_ends
from ebpf_net.reducer.rows import PUBLIC, Rows, address_columns, int64_column


class PublicAddresses:
    """What ``cloud_instance_addresses`` of all sources say. Only IPv4 is translated."""

    def __init__(self, told: pa.Table) -> None:
        private = address_columns(told, "private_address")
        public = address_columns(told, "public_address")
        chosen = np.flatnonzero(is_mapped(*public) & is_mapped(*private))
        source = int64_column(told, "source")[chosen]
        private_low, public_low = private[1][chosen], public[1][chosen]
        self._public = Lookup(combine(source, private_low), public_low)
        self._private = Lookup(combine(source, public_low), private_low)

    def __len__(self) -> int:
        return len(self._public)

    def of(self, source: Int64, high: Int64, low: Int64) -> Int64:
        """Return the last half of the public address of each private one, or 0."""
        found = self._public.find(combine(source, low))
        return np.where((found >= 0) & (high == 0), found, 0)

    def private(self, source: Int64, high: Int64, low: Int64) -> Int64:
        """Return the last half of addresses of a host, the private for a public one."""
        found = self._private.find(combine(source, low))
        return np.where((found >= 0) & (high == 0), found, low)


def with_public_addresses(
    rows: Rows,
    known: PublicAddresses,
    clients: Iterable[KnownKeys] = (),
    servers: Iterable[KnownKeys] = (),
) -> Rows:
    """Let rows have the public address of their own end where the other is public.

    Not where the other end has a row of the addresses as they are, now or before among
    ``clients`` and ``servers``: hosts with public addresses may reach a VPC by a way of
    their own.
    """
    if not len(known) or not len(rows):
        return rows
    plain = rows.with_public(np.zeros(len(rows), np.int64))
    public = known.of(rows.source, *address_columns(rows.edges, "local_address"))
    chosen = np.flatnonzero(public)
    chosen = chosen[_sees_public(plain, chosen)]
    if not len(chosen):
        return plain
    is_plain = _meet(plain, chosen)
    keys = plain.unscoped_keys.take(chosen)
    for parts, is_asked in (
        (list(clients), ~rows.is_client[chosen]),
        (list(servers), rows.is_client[chosen]),
    ):
        is_plain |= is_asked & find_ends(parts, keys.near, keys.far)[0]
    chosen = chosen[~is_plain]
    seen = np.zeros(len(rows), np.int64)
    seen[chosen] = public[chosen]
    is_known = np.array_equal(seen, rows.int64(PUBLIC))
    return rows if is_known else rows.with_public(seen)


def translations_from_outside(told: pa.Table, known: PublicAddresses) -> pa.Table:
    """Return translations with the addresses that the ends beyond a cloud see."""
    if not len(known):
        return told
    source = int64_column(told, "source")
    for name, beyond in (("outer", "server"), ("service", "client")):
        low = int64_column(told, f"{name}_address_low")
        public = known.of(source, int64_column(told, f"{name}_address_high"), low)
        seen = (public != 0) & is_public(*address_columns(told, f"{beyond}_address"))
        place = told.schema.get_field_index(f"{name}_address_low")
        changed = pa.array(np.where(seen, public, low))
        told = told.set_column(place, told.schema.field(place), changed)
    return told


def _sees_public(rows: Rows, chosen: Int64) -> Bool:
    """Tell of which rows the other end's address is public, as it is seen."""
    ends, client = rows.addresses, rows.is_client[chosen]
    high = np.where(client, ends.server_high[chosen], ends.client_high[chosen])
    low = np.where(client, ends.server_low[chosen], ends.client_low[chosen])
    return is_public(high, low)


def _meet(rows: Rows, chosen: Int64) -> Bool:
    """Tell which of the chosen rows have another one of the other end."""
    own = rows.unscoped_keys.far ^ rows.is_client
    other = own[chosen] ^ 1
    there = own[Lookup(other).find(own) >= 0]
    return Lookup(there).find(other) >= 0
