"""Overflow edges: what a collector had no room for, against what the other ends tell.

Such an edge has its own end's address and the server's port, but no other end. The
other ends' rows, if there are any, tell parts of the same traffic. So it counts what
they have left of it: it waits a window, as they may have seen something a moment later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.keys import (
    Bool,
    Int64,
    combine,
    is_link_local,
    is_loopback,
)
from ebpf_net.reducer.matching import Matched
from ebpf_net.reducer.memory import Ends, find
from ebpf_net.reducer.rows import Rows, no_rows

_MOVED = (
    ("bytes_sent", "bytes_received"),
    ("bytes_received", "bytes_sent"),
    ("packets_sent", "packets_received"),
    ("packets_received", "packets_sent"),
    ("opened", "opened"),
    ("closed", "closed"),
)
"""What is added up over windows: an end's column, and the same of the other end."""
_OPEN = "open"  # is not: it is told anew in each window
_MEASURES = (*_MOVED, (_OPEN, _OPEN))

RESULTS = ("claimed", "alone", "ambiguous")
"""Told by other ends; by none; at most this much on overflow edges of both ends."""
UNITS = ("bytes", "connections")


def is_overflow(rows: Rows) -> Bool:
    """Tell which rows are overflow edges: no other end has the address zero."""
    high = rows.int64("remote_address_high")
    result: Bool = (high | rows.int64("remote_address_low")) == 0
    return result


def split_overflow(rows: Rows) -> tuple[Rows, Rows]:
    """Return the rows without overflow edges, and these."""
    crowded = is_overflow(rows)
    if not crowded.any():
        return rows, no_rows()
    return rows.take(~crowded), rows.take(crowded)


def alone(rows: Rows) -> Matched:
    """Return that these rows count and that nobody is known at their other end."""
    count = len(rows)
    ends = Ends(rows.source, rows.int64("process_id"), rows.int64("cgroup_id"))
    no = np.zeros(count, np.bool_)
    return Matched(
        ends,
        combine(ends.source, ends.process, ends.cgroup),
        np.arange(count),
        np.full(count, -1, np.int64),
        np.ones(count, np.bool_),
        no,
        no,
        no,
    )


@dataclass(frozen=True)
class Claims:
    """Rows that tell of what may be in an overflow edge of their other end.

    That is what they count, less what rows of that end have told of the same: those are
    in ``is_own``. ``old`` are those of the window before.
    """

    rows: Rows
    chosen: Int64
    is_own: Bool
    old: Bool
    peer_reports: Bool  # of all rows

    def amounts(self, own: str, other: str) -> Int64:
        """Return what each of them tells, by the column of the overflow edge."""
        return np.where(
            self.is_own,
            -self.rows.int64(own)[self.chosen],
            self.rows.int64(other)[self.chosen],
        )

    def take(self, hit: Bool) -> Claims:
        """Return some of them."""
        return replace(
            self,
            chosen=self.chosen[hit],
            is_own=self.is_own[hit],
            old=self.old[hit],
        )


def find_claims(rows: Rows, matched: Matched, was_held: Bool) -> Claims:
    """Return the rows that may tell of what is in overflow edges of their other end.

    A client's row counts, so what it tells more than its server's may be in an edge of
    the server. A server's row counts only where there is no client's.
    """
    settled = (was_held | ~matched.held) & ~matched.superseded
    is_own = ~rows.is_client & ~matched.volume
    chosen = np.flatnonzero(settled & (matched.volume | is_own))
    return Claims(rows, chosen, is_own[chosen], was_held[chosen], matched.peer_reports)


class Overflow:
    """What other ends' rows take of overflow edges, over windows. Not thread-safe."""

    def __init__(self) -> None:
        self.counts = {(result, unit): 0 for result in RESULTS for unit in UNITS}
        self._ahead: dict[int, list[int]] = {}  # claims that came before their edge
        self._waited = 0  # how many edges, the last ones, have waited twice

    def postpone(
        self, before: Rows, matching: tuple[Rows, Matched, Bool]
    ) -> tuple[Rows, Rows]:
        """Return edges of the window before that can go out, and those that wait on.

        They do so once if a row that waits itself may tell of the same traffic.
        """
        rows, matched, was_held = matching
        first = np.arange(len(before)) < len(before) - self._waited
        self._waited = 0
        chosen = np.flatnonzero(matched.held & ~was_held)
        if not first.any() or not len(chosen):
            return before, no_rows()
        pots = _Pots(before, no_rows())
        nothing = np.zeros(len(chosen), np.bool_)
        claims = Claims(rows, chosen, nothing, nothing, matched.peer_reports)
        told = np.isin(pots.of(before), pots.find(claims)) & first
        self._waited = int(told.sum())
        return before.take(~told), before.take(told)

    def settle(
        self, before: Rows, now: Rows, matching: tuple[Rows, Matched, Bool]
    ) -> tuple[Rows, Rows]:
        """Take claims off the overflow edges of two windows; return what is left.

        ``matching`` has all other rows, what became of them, and which were held.
        Where a row tells of such an edge, its other end reports for itself.
        """
        if not len(before) and not len(now):
            self._ahead = {}
            return before, now
        claims = find_claims(*matching)
        pots = _Pots(before, now)
        place = pots.find(claims)
        hit = place >= 0
        claims, place = claims.take(hit), place[hit]
        claims.peer_reports[claims.chosen[~claims.is_own]] = True
        ahead: list[Int64] = []
        taken: dict[str, tuple[Int64, Int64]] = {}
        for number, (own, other) in enumerate(_MEASURES):
            values, old = claims.amounts(own, other), claims.old
            late = pots.add(place[old], values[old])
            fresh = pots.add(place[~old], values[~old])
            inside = pots.total(before, own), pots.total(now, own)
            if own == _OPEN:
                taken[own] = np.clip(late, 0, inside[0]), np.clip(fresh, 0, inside[1])
                continue
            early = pots.early(self._ahead, number)
            taken[own] = _take(inside, late, late + fresh + early)
            left = late + fresh + early - sum(taken[own])
            # What came too early and has no edge still is of no edge of ours.
            recent = late + fresh
            ahead.append(np.clip(left, np.minimum(recent, 0), np.maximum(recent, 0)))
        self._ahead = pots.remember(ahead)
        self._count("claimed", {own: one + two for own, (one, two) in taken.items()})
        return (
            pots.without(before, {own: both[0] for own, both in taken.items()}),
            pots.without(now, {own: both[1] for own, both in taken.items()}),
        )

    def release(self, rows: Rows) -> None:
        """Count what is left of overflow edges when it goes out."""
        client = rows.is_client
        nameless = (
            rows.int64("local_address_high") | rows.int64("local_address_low")
        ) == 0
        protocol = rows.int64("protocol")
        totals = {own: rows.int64(own) for own, _ in _MOVED}
        self._count("alone", totals)
        self._count("ambiguous", {own: one[nameless] for own, one in totals.items()})
        for number in np.unique(protocol):
            of_both = (protocol == number) & ~nameless
            sides = [_sizes(totals, of_both & side) for side in (client, ~client)]
            for unit, size in zip(UNITS, np.minimum(*sides), strict=True):
                self.counts["ambiguous", unit] += int(size)

    def release_late(self, rows: Rows) -> None:
        """Count overflow edges that come when other ends have been counted."""
        totals = {own: rows.int64(own) for own, _ in _MOVED}
        self._count("alone", totals)
        self._count("ambiguous", totals)

    def to_json(self) -> dict[str, object]:
        """Return what a restart needs."""
        return {
            "ahead": [[key, *values] for key, values in self._ahead.items()],
            "waited": self._waited,
            "counts": [[*name, value] for name, value in self.counts.items()],
        }

    def from_json(self, value: Mapping[str, Any]) -> None:
        """Take what to_json returned."""
        self._waited = value.get("waited", 0)
        self._ahead = {key: values for key, *values in value.get("ahead", ())}
        for result, unit, count in value.get("counts", ()):
            self.counts[str(result), str(unit)] = count

    def _count(self, result: str, totals: Mapping[str, Int64]) -> None:
        every = np.ones(len(totals["opened"]), np.bool_)
        for unit, size in zip(UNITS, _sizes(totals, every), strict=True):
            self.counts[result, unit] += int(size)


def _take(
    inside: tuple[Int64, Int64], late: Int64, wanted: Int64
) -> tuple[Int64, Int64]:
    """Return how much to take of the edges before and of those now."""
    before, now = inside
    wanted = np.clip(wanted, 0, before + now)
    from_before = np.minimum(np.clip(late, 0, before), wanted)
    from_now = np.minimum(now, wanted - from_before)
    return wanted - from_now, from_now


def _sizes(totals: Mapping[str, Int64], chosen: Bool) -> Int64:
    moved = totals["bytes_sent"][chosen] + totals["bytes_received"][chosen]
    return np.array([moved.sum(), totals["opened"][chosen].sum()], np.int64)


class _Pots:
    """The overflow edges of two windows by their key, sorted."""

    def __init__(self, before: Rows, now: Rows) -> None:
        self._own = {id(rows): _own_keys(rows) for rows in (before, now)}
        near, far = (
            np.concatenate([self._own[id(rows)][which] for rows in (before, now)])
            for which in (0, 1)
        )
        self._near, first = np.unique(near, return_index=True)
        order = np.argsort(far[first])
        self._far, self._far_place = far[first][order], order

    def __len__(self) -> int:
        return len(self._near)

    def find(self, claims: Claims) -> Int64:
        """Return the place of the other end's overflow edge of each claim, or -1."""
        near, far = _end_keys(claims)
        place = find(self._near, near)
        elsewhere = find(self._far, far)
        beyond = np.where(elsewhere >= 0, self._far_place[elsewhere], -1)
        return np.where(place >= 0, place, beyond)

    def add(self, place: Int64, values: Int64) -> Int64:
        """Add values up by place."""
        result = np.zeros(len(self), np.int64)
        np.add.at(result, place, values)
        return result

    def of(self, rows: Rows) -> Int64:
        """Return the place of each overflow edge."""
        return find(self._near, self._own[id(rows)][0])

    def total(self, rows: Rows, name: str) -> Int64:
        """Add up a column of overflow edges."""
        return self.add(self.of(rows), rows.int64(name))

    def early(self, ahead: Mapping[int, list[int]], number: int) -> Int64:
        """Return what was claimed a window ago of what comes now."""
        result = np.zeros(len(self), np.int64)
        if ahead:
            keys = np.fromiter(ahead, np.int64, len(ahead))
            values = np.array([one[number] for one in ahead.values()], np.int64)
            place = find(self._near, keys)
            result[place[place >= 0]] = values[place >= 0]
        return result

    def remember(self, ahead: list[Int64]) -> dict[int, list[int]]:
        """Return by key what was claimed and is not there yet."""
        table = np.stack(ahead, axis=1)
        some = np.flatnonzero(table.any(axis=1))
        return dict(zip(self._near[some].tolist(), table[some].tolist(), strict=True))

    def without(self, rows: Rows, taken: Mapping[str, Int64]) -> Rows:
        """Return overflow edges without what was taken of them."""
        if not len(rows):
            return rows
        place = self.of(rows)
        order = np.argsort(place, kind="stable")
        starts = np.flatnonzero(np.diff(place[order], prepend=-1))
        edges = rows.edges
        for name, amounts in taken.items():
            values = rows.int64(name)[order]
            before = np.cumsum(values) - values
            before -= np.repeat(before[starts], np.diff([*starts, len(order)]))
            less = np.clip(amounts[place[order]] - before, 0, values)
            kept = np.empty_like(values)
            kept[order] = values - less
            index = edges.schema.get_field_index(name)
            field = edges.schema.field(index)
            edges = edges.set_column(index, field, pa.array(kept, field.type))
        return replace(rows, edges=edges)


def _own_keys(rows: Rows) -> tuple[Int64, Int64]:
    every = np.arange(len(rows))
    high, low = rows.int64("local_address_high"), rows.int64("local_address_low")
    return _keys(rows, every, high, low, rows.is_client)


def _end_keys(claims: Claims) -> tuple[Int64, Int64]:
    """Return the keys of the ends that the claims tell of."""
    rows, chosen = claims.rows, claims.chosen
    ends, of_client = rows.addresses, ~rows.is_client[chosen] & ~claims.is_own
    high = np.where(of_client, ends.client_high[chosen], ends.server_high[chosen])
    low = np.where(of_client, ends.client_low[chosen], ends.server_low[chosen])
    return _keys(rows, chosen, high, low, of_client)


def _keys(
    rows: Rows, chosen: Int64, high: Int64, low: Int64, of_client: Bool
) -> tuple[Int64, Int64]:
    """Return keys of an end, on its own host and everywhere, as keys.py has them."""
    service = (rows.server_port[chosen] << 8) | rows.int64("protocol")[chosen]
    far = combine(high, low, (service << 1) | of_client)
    near = combine(far, rows.boot[chosen])
    loopback = is_loopback(high, low)
    near = np.where(loopback, combine(near, rows.int64("netns")[chosen]), near)
    return near, np.where(loopback | is_link_local(high, low), near, far)
