"""One poll of one part: what it sees, compared with what the polls before it saw.

Only what a whole poll did not see has gone. An address that another interface has now
ended when it began there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ebpf_net.collectors.cloud.held import (
    Facts,
    Held,
    facts_of,
    hold,
    interface_uid,
    is_public,
    pack_ranges,
    pack_starts,
    split_ranges,
    unpack_starts,
)
from ebpf_net.collectors.cloud.held_tables import address_row
from ebpf_net.collectors.cloud.providers import PartKey
from ebpf_net.collectors.cloud.records import Interface
from ebpf_net.collectors.row_table import Row


@dataclass
class Holdings:
    """Interfaces of one part by uid. During a poll, ``seen`` are those seen so far."""

    known: dict[str, Held] = field(default_factory=dict)
    seen: dict[str, Held] = field(default_factory=dict)
    polled_ns: int = 0
    """When the last whole poll began; 0: there was none."""

    def get(self, uid: str) -> Held | None:
        """Return an interface."""
        return self.seen.get(uid) or self.known.get(uid)


@dataclass(frozen=True)
class _Lost:
    """An address that its interface does not have any more."""

    uid: str
    held: Held
    packed: bytes
    from_ns: int


class Poll:
    """Not thread-safe. ``complete`` or ``abandon`` ends it."""

    def __init__(self, key: PartKey, holdings: Holdings, now_ns: int) -> None:
        self._key = key
        self._holdings = holdings
        self._now_ns = now_ns
        self._lost: list[_Lost] = []
        # Since when addresses that are new have been where they are now.
        self._begun: dict[tuple[str, bytes], int] = {}

    def see(
        self, interface: Interface, share: Callable[[Facts], Facts]
    ) -> tuple[str, Held | None, Held]:
        """Return the uid of an interface, what it was, and what it is.

        They are one object if nothing has changed.
        """
        uid = interface_uid(self._key, interface)
        ranges = pack_ranges(interface.addresses)
        facts = share(facts_of(self._key, interface))
        before = self._holdings.known.pop(uid, None) or self._holdings.seen.get(uid)
        held = hold(interface, facts, ranges, self._starts(before, interface, ranges))
        if before == held:
            held = before
        elif before is not None:
            self._lose(uid, before, held.ranges)
        self._holdings.seen[uid] = held
        return uid, before, held

    def complete(self) -> dict[str, Held]:
        """Return what was not seen, and has gone."""
        holdings = self._holdings
        gone, holdings.known, holdings.seen = holdings.known, holdings.seen, {}
        holdings.polled_ns = self._now_ns
        for uid, held in gone.items():
            self._lose(uid, held, b"")
        return gone

    def abandon(self) -> dict[str, Held]:
        """Keep what was not seen, because not all was asked for."""
        self._holdings.known |= self._holdings.seen
        self._holdings.seen = {}
        return {}

    def ended_rows(self) -> Iterator[Row]:
        """Yield addresses that ended, with their ends; after the poll."""
        for lost in self._lost:
            place = _place(lost.held.facts.network, lost.packed)
            until_ns = self._begun.get(place, self._now_ns)
            until_ns = max(until_ns, lost.from_ns + 1)
            yield address_row(lost.uid, lost.held, lost.packed, lost.from_ns, until_ns)

    def _starts(
        self, before: Held | None, interface: Interface, ranges: bytes
    ) -> bytes:
        """Return since when it has each of its addresses."""
        known: dict[bytes, int] = {}
        if before is not None:
            if before.ranges == ranges:
                return before.starts
            starts = unpack_starts(before.starts)
            known = dict(zip(split_ranges(before.ranges), starts, strict=True))
        start = self._start(interface.attached_ns)
        found = []
        for packed in split_ranges(ranges):
            if packed not in known and self._holdings.polled_ns:
                self._begun[_place(interface.network, packed)] = start
            found.append(known.get(packed, start))
        return pack_starts(found)

    def _start(self, attached_ns: int) -> int:
        """Return since when an interface has what it did not have at the last poll."""
        polled_ns = self._holdings.polled_ns
        if not polled_ns:
            return min(attached_ns, self._now_ns)
        if polled_ns < attached_ns < self._now_ns:
            return attached_ns
        return self._now_ns

    def _lose(self, uid: str, before: Held, ranges: bytes) -> None:
        left = set(split_ranges(ranges))
        starts = unpack_starts(before.starts)
        for packed, start in zip(split_ranges(before.ranges), starts, strict=True):
            if packed not in left:
                self._lost.append(_Lost(uid, before, packed, start))


def _place(network: str, packed: bytes) -> tuple[str, bytes]:
    return "" if is_public(packed) else network, packed
