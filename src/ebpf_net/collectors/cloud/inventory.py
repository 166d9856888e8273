"""Who has which address, as polls tell it: the rows of the tables of clouds.

What ended stays for a while with the time of its end, so that late edges find it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

from ebpf_net.collectors.clock import Clock
from ebpf_net.collectors.cloud.held import (
    Facts,
    Held,
    address_key,
    count_ranges,
    split_ranges,
)
from ebpf_net.collectors.cloud.held_tables import ADDRESSES, INTERFACES
from ebpf_net.collectors.cloud.polls import Holdings, Poll
from ebpf_net.collectors.cloud.providers import PartKey
from ebpf_net.collectors.cloud.records import Interface
from ebpf_net.collectors.cloud.untold import Ended, Untold, all_tables
from ebpf_net.collectors.reference_rows import ReferenceRows
from ebpf_net.collectors.row_table import Table

ACCOUNTS = "cloud_accounts"
_SPARE_FACTS = 1000


class Inventory:
    """A RowSource. For any thread."""

    def __init__(
        self, clock: Clock, ended_seconds: float = 60.0, ended_capacity: int = 10_000
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts = ReferenceRows(ACCOUNTS)
        self._parts: dict[PartKey, Holdings] = {}
        self._facts: dict[Facts, Facts] = {}
        self._ended = Ended(clock, ended_seconds, ended_capacity)
        self._untold = Untold()
        self._all_untold = False

    # Polls

    def begin_poll(self, key: PartKey) -> PartPoll:
        """Return what takes what a poll of a part sees; one at a time of each part."""
        with self._lock:
            holdings = self._parts.setdefault(key, Holdings())
            poll = Poll(key, holdings, self._clock.wall_ns())
        return PartPoll(self, poll)

    def drop_part(self, key: PartKey) -> None:
        """Take the end of a part: its region or account is not there any more."""
        self.begin_poll(key).complete()
        with self._lock:
            del self._parts[key]

    def name_account(self, provider: str, account: str, name: str) -> None:
        """Tell of an account, whose rows nobody else tells from then on."""
        with self._lock:
            key = f"{provider}/{account}"
            self._accounts.put(key, (key, provider, account, name))

    def forget_account(self, provider: str, account: str) -> None:
        """Tell of an account no more."""
        with self._lock:
            self._accounts.remove(f"{provider}/{account}")

    # A source of rows

    def settle(self) -> None:
        """Wait for nothing: polls take their time."""

    def changes(self) -> dict[str, Table]:
        """Return what changed since the last call."""
        with self._lock:
            self._ended.settle(self._untold)
            tables: dict[str, Table] = {}
            accounts = self._accounts.take_changes()
            if accounts is not None:
                tables[ACCOUNTS] = accounts
            if self._all_untold:
                tables |= all_tables(self._all_held(), self._ended, self._untold)
            else:
                tables |= self._untold.tables()
            self._forget()
            return tables

    def snapshot(self) -> dict[str, Table]:
        """Return all rows, with those that ended a short while ago."""
        with self._lock:
            self._ended.settle(self._untold)
            tables: dict[str, Table] = {ACCOUNTS: self._accounts.snapshot()}
            return tables | all_tables(self._all_held(), self._ended)

    def tell_again(self, parts: Iterable[Mapping[str, Table]]) -> None:
        """Take these rows as changed, because a snapshot had no room for them."""
        with self._lock:
            for part in parts:
                if ACCOUNTS in part:
                    self._accounts.tell_again(part[ACCOUNTS]["account_key"])
                if INTERFACES in part:
                    self._tell_interfaces(part[INTERFACES]["interface_uid"])
                if ADDRESSES in part:
                    table = part[ADDRESSES]
                    self._tell_addresses(table["interface_uid"], table["address_key"])

    def restate(self) -> None:
        """Take all rows as changed."""
        with self._lock:
            self._all_untold = True
            self._accounts.restate()

    def forget_changes(self) -> None:
        """Take all there is as told, because a snapshot will tell it."""
        with self._lock:
            self._ended.settle(self._untold)
            self._forget()
            self._accounts.forget_changes()

    def status(self) -> dict[str, int]:
        """Return how many rows there are."""
        with self._lock:
            ranges = (count_ranges(one.ranges) for _, one in self._pairs())
            return {
                "cloud.rows.accounts": len(self._accounts),
                "cloud.rows.interfaces": self._count() + len(self._ended.interfaces),
                "cloud.rows.addresses": sum(ranges) + len(self._ended.addresses),
                "cloud.ending": len(self._ended),
            }

    def _forget(self) -> None:
        self._untold = Untold()
        self._all_untold = False

    def _pairs(self) -> Iterator[tuple[str, Held]]:
        for holdings in self._parts.values():
            yield from holdings.known.items()
            yield from holdings.seen.items()

    def _all_held(self) -> dict[str, Held]:
        return dict(self._pairs())

    def _count(self) -> int:
        return sum(len(one.known) + len(one.seen) for one in self._parts.values())

    def _tell_interfaces(self, uids: Iterable[object]) -> None:
        for uid in map(str, uids):
            held = self._find(uid) or self._ended.interfaces.get(uid)
            if held is not None:
                self._untold.interfaces[uid] = held

    def _tell_addresses(self, uids: Iterable[object], keys: Iterable[object]) -> None:
        for uid, key in zip(map(str, uids), map(str, keys), strict=True):
            ended = self._ended.addresses.get(key)
            held = self._find(uid)
            if ended is not None:
                self._untold.addresses[key] = ended
            elif held is not None:
                self._untold.whole[uid] = held

    def _find(self, uid: str) -> Held | None:
        found = (holdings.get(uid) for holdings in self._parts.values())
        return next((held for held in found if held is not None), None)

    # What polls see

    def _put(self, poll: Poll, interface: Interface) -> None:
        with self._lock:
            uid, before, held = poll.see(interface, self._share)
            if before is None:
                keys = () if not len(self._ended) else _keys(uid, held)
                self._ended.revive(uid, keys)
                self._untold.put_new(uid, held)
            elif before is not held:
                if before.ranges != held.ranges:
                    self._ended.revive(uid, _keys(uid, held))
                self._untold.put_changed(uid, before, held)

    def _end_poll(self, poll: Poll, *, is_complete: bool) -> None:
        with self._lock:
            gone = poll.complete() if is_complete else poll.abandon()
            for row in poll.ended_rows():
                self._ended.end_address(row, self._untold)
            for uid, held in gone.items():
                self._untold.whole.pop(uid, None)
                self._ended.end_interface(uid, held, self._untold)

    def _share(self, facts: Facts) -> Facts:
        """Return facts that are equal, and kept once."""
        shared = self._facts.get(facts)
        if shared is None:
            if len(self._facts) > 2 * self._count() + _SPARE_FACTS:
                self._facts = {}
            shared = self._facts[facts] = facts
        return shared


class PartPoll:
    """What one poll of a part sees. ``complete`` or ``abandon`` ends it."""

    def __init__(self, inventory: Inventory, poll: Poll) -> None:
        self._inventory = inventory
        self._poll = poll

    def put(self, interface: Interface) -> None:
        """Take an interface as it is now."""
        self._inventory._put(self._poll, interface)

    def complete(self) -> None:
        """Take the end of all that was not seen."""
        self._inventory._end_poll(self._poll, is_complete=True)

    def abandon(self) -> None:
        """Keep what was not seen, because not all could be asked for."""
        self._inventory._end_poll(self._poll, is_complete=False)


def _keys(uid: str, held: Held) -> Iterator[str]:
    return (address_key(uid, packed) for packed in split_ranges(held.ranges))
