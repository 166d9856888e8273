"""What changed since the last window, and what ended a while ago. Not thread-safe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ebpf_net.collectors.clock import Clock
from ebpf_net.collectors.cloud.held import (
    Held,
    address_key,
    split_ranges,
    unpack_starts,
)
from ebpf_net.collectors.cloud.held_tables import (
    ADDRESSES,
    INTERFACES,
    AddressTable,
    InterfaceTable,
    address_row,
)
from ebpf_net.collectors.endings import Endings
from ebpf_net.collectors.row_table import Row, Table


class Untold:
    """Interfaces and addresses that are to be told, by uid and by key."""

    def __init__(self) -> None:
        self.interfaces: dict[str, Held] = {}
        self.whole: dict[str, Held] = {}
        """Interfaces of which all addresses are to be told."""
        self.addresses: dict[str, Row] = {}
        """Single ones."""
        self.removed_interfaces: dict[str, Held] = {}
        self.removed_addresses: dict[str, Row] = {}

    def put_new(self, uid: str, held: Held) -> None:
        """Tell of an interface that was not there."""
        self.removed_interfaces.pop(uid, None)
        self.interfaces[uid] = held
        self._put_whole(uid, held)

    def put_changed(self, uid: str, before: Held, held: Held) -> None:
        """Tell what is different; the ends of addresses are told apart."""
        if before[:3] != held[:3]:
            self.interfaces[uid] = held
        if uid in self.whole or before.facts.network != held.facts.network:
            self._put_whole(uid, held)
            return
        known = set(split_ranges(before.ranges))
        starts = unpack_starts(held.starts)
        for packed, start in zip(split_ranges(held.ranges), starts, strict=True):
            if packed not in known:
                self.put_address(address_row(uid, held, packed, start))

    def _put_whole(self, uid: str, held: Held) -> None:
        self.whole[uid] = held
        if self.addresses or self.removed_addresses:
            for packed in split_ranges(held.ranges):
                key = address_key(uid, packed)
                self.addresses.pop(key, None)
                self.removed_addresses.pop(key, None)

    def put_address(self, row: Row) -> None:
        """Tell of one address."""
        self.removed_addresses.pop(str(row[0]), None)
        self.addresses[str(row[0])] = row

    def remove_interface(self, uid: str, held: Held) -> None:
        """Tell that a row has gone."""
        self.interfaces.pop(uid, None)
        self.removed_interfaces[uid] = held

    def remove_address(self, key: str, row: Row) -> None:
        """Tell that a row has gone."""
        self.addresses.pop(key, None)
        self.removed_addresses[key] = row

    def tables(self) -> dict[str, Table]:
        """Return what is to be told; of what has not changed, no table."""
        tables: dict[str, Table] = {}
        if self.interfaces or self.removed_interfaces:
            tables[INTERFACES] = InterfaceTable(
                self.interfaces, self.removed_interfaces
            )
        addresses = AddressTable(
            self.whole, self.addresses.values(), self.removed_addresses.values()
        )
        if addresses.has_rows:
            tables[ADDRESSES] = addresses
        return tables


class Ended:
    """What has ended and is kept for a while; not the oldest, where it is too much."""

    def __init__(self, clock: Clock, seconds: float, capacity: int) -> None:
        self.interfaces: dict[str, Held] = {}
        self.addresses: dict[str, Row] = {}
        self._endings: Endings[tuple[str, str]] = Endings(clock, seconds, capacity)

    def __len__(self) -> int:
        return len(self._endings)

    def end_interface(self, uid: str, held: Held, untold: Untold) -> None:
        """Keep an interface whose end was seen."""
        self.interfaces[uid] = held._replace(ranges=b"", starts=b"")
        self._note(INTERFACES, uid, untold)

    def end_address(self, row: Row, untold: Untold) -> None:
        """Keep an address with its end, and tell of that."""
        key = str(row[0])
        self.addresses[key] = row
        untold.put_address(row)
        self._note(ADDRESSES, key, untold)

    def revive(self, uid: str, keys: Iterable[str]) -> None:
        """Forget the ends of what is back; it is told as it is now."""
        if self.interfaces.pop(uid, None) is not None:
            self._endings.discard((INTERFACES, uid))
        for key in keys:
            if self.addresses.pop(key, None) is not None:
                self._endings.discard((ADDRESSES, key))

    def settle(self, untold: Untold) -> None:
        """Remove what has been kept for long enough."""
        while over := self._endings.take_over():
            self._remove(*over, untold)

    def _note(self, table: str, key: str, untold: Untold) -> None:
        for surplus in self._endings.add((table, key)):
            self._remove(*surplus, untold)

    def _remove(self, table: str, key: str, untold: Untold) -> None:
        if table == INTERFACES:
            untold.remove_interface(key, self.interfaces.pop(key))
        else:
            untold.remove_address(key, self.addresses.pop(key))


def all_tables(
    held: Mapping[str, Held], ended: Ended, untold: Untold | None = None
) -> dict[str, Table]:
    """Return all rows, also those that ended; with ``untold``, those removed, too."""
    rows = ended.addresses.values()
    interfaces = {**held, **ended.interfaces} if ended.interfaces else held
    if untold is None:
        return {
            INTERFACES: InterfaceTable(interfaces),
            ADDRESSES: AddressTable(held, rows),
        }
    removed = untold.removed_addresses.values()
    return {
        INTERFACES: InterfaceTable(interfaces, untold.removed_interfaces),
        ADDRESSES: AddressTable(held, rows, removed),
    }
