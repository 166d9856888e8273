"""What is held, as tables: each column is made when it is asked for.

So a table of all that is known needs the memory of one column after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from ebpf_net.collectors.cloud.held import (
    Facts,
    Held,
    address_key,
    count_ranges,
    id_within,
    split_ranges,
    unpack_ranges,
    unpack_starts,
)
from ebpf_net.collectors.row_table import NumericColumn, Row
from ebpf_net.schema import TABLES

INTERFACES = "cloud_interfaces"
ADDRESSES = "cloud_addresses"
_NUMBERS = {name: kind for name, kind in TABLES[ADDRESSES] if kind != "string"}


class _HeldTable(Mapping[str, NumericColumn | Sequence[str]]):
    """``held`` by uid, then rows that are there already, the last ones removed."""

    def __init__(
        self, table: str, held: Mapping[str, Held], rows: Sequence[Row], removed: int
    ) -> None:
        self._places = {name: place for place, (name, _) in enumerate(TABLES[table])}
        self._held = held
        self._rows = rows
        self._removed = removed

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _of_rows(self, name: str) -> Iterator[str | int | bool]:
        place = self._places[name]
        return (row[place] for row in self._rows)

    def _removed_column(self, length: int) -> NumericColumn:
        return np.arange(length) >= length - self._removed


class InterfaceTable(_HeldTable):
    """Rows of ``cloud_interfaces``."""

    def __init__(
        self, held: Mapping[str, Held], removed: Mapping[str, Held] | None = None
    ) -> None:
        gone = removed or {}
        super().__init__(INTERFACES, {**held, **gone} if gone else held, (), len(gone))

    def __getitem__(self, name: str) -> NumericColumn | Sequence[str]:
        held = self._held
        if name == "removed":
            return self._removed_column(len(held))
        if name == "interface_uid":
            return list(held)
        if name == "interface_id":
            return [id_within(uid) for uid in held]
        if name == "instance_id":
            return [one.instance_id for one in held.values()]
        if name == "name":
            return [one.name for one in held.values()]
        place = Facts._fields.index(name)
        return [one.facts[place] for one in held.values()]


class AddressTable(_HeldTable):
    """Rows of ``cloud_addresses``: all those of ``held``, then single ones."""

    def __init__(
        self,
        held: Mapping[str, Held],
        rows: Collection[Row] = (),
        removed: Collection[Row] = (),
    ) -> None:
        super().__init__(ADDRESSES, held, [*rows, *removed], len(removed))
        self._count = sum(count_ranges(one.ranges) for one in held.values())

    @property
    def has_rows(self) -> bool:
        """Whether there is any."""
        return bool(self._count or self._rows)

    def __getitem__(self, name: str) -> NumericColumn | Sequence[str]:
        length = self._count + len(self._rows)
        if name == "removed":
            return self._removed_column(length)
        values = chain(self._of_held(name), self._of_rows(name))
        if name in _NUMBERS:
            return np.fromiter(values, np.dtype(_NUMBERS[name]), length)
        return [str(value) for value in values]

    def _of_held(self, name: str) -> Iterable[str | int]:
        pairs = self._held.items()
        if name == "interface_uid":
            return (uid for uid, one in pairs for _ in range(count_ranges(one.ranges)))
        if name == "address_key":
            return (
                address_key(uid, packed)
                for uid, one in pairs
                for packed in split_ranges(one.ranges)
            )
        if name == "from_ns":
            return (start for _, one in pairs for start in unpack_starts(one.starts))
        if name == "until_ns":
            return (0 for _ in range(self._count))
        if name == "network":
            return (
                "" if is_public else one.facts.network
                for _, one in pairs
                for *_, is_public in unpack_ranges(one.ranges)
            )
        place = ("address_high", "address_low", "prefix_length").index(name)
        return (
            values[place] for _, one in pairs for values in unpack_ranges(one.ranges)
        )


def address_row(
    uid: str, held: Held, packed: bytes, from_ns: int, until_ns: int = 0
) -> Row:
    """Return one row of ``cloud_addresses``, without ``removed``."""
    ((high, low, length, is_public),) = unpack_ranges(packed)
    return (
        address_key(uid, packed),
        uid,
        "" if is_public else held.facts.network,
        high,
        low,
        from_ns,
        until_ns,
        length,
    )
