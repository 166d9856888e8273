"""Who had an address when: claims on it, of which one counts for a span of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ebpf_net.reducer.keys import Int64
from ebpf_net.reducer.lookups import Lookup, pick

_ENDLESS = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Span:
    """A stretch of Unix time, without its end."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Claim:
    """Columns: ``owner`` claims ``key`` from ``from_ns`` until ``until_ns``.

    An until of 0 is open. ``tie`` decides between claims of the same beginning, so
    that the order of rows does not.
    """

    key: Int64
    owner: Int64
    from_ns: Int64
    until_ns: Int64
    tie: Int64


class Claims:
    """Claims by key. A later claim ends a former one, whatever that says.

    For a span the owner is the one whose claim covers most of it; of equal ones the
    later.
    """

    def __init__(self, claim: Claim) -> None:
        order = np.lexsort((claim.tie, claim.from_ns, claim.key))
        key = claim.key[order]
        self._owner, self._from = claim.owner[order], claim.from_ns[order]
        until = claim.until_ns[order]
        until = np.where(until == 0, _ENDLESS, until)
        again = key[1:] == key[:-1]
        until[:-1][again] = np.minimum(until[:-1], self._from[1:])[again]
        self._until = until
        self._first = np.flatnonzero(np.concatenate([[True], ~again])[: len(key)])
        self._group = np.zeros(len(key), np.int64)
        self._group[self._first[1:]] = 1
        self._group = np.cumsum(self._group)
        self._lookup = Lookup(key[self._first])
        self._span: Span | None = None
        self._owners = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._owner)

    def find(self, wanted: Int64, span: Span) -> Int64:
        """Return the owner of each key in a span, or NOBODY."""
        if span != self._span:
            self._span, self._owners = span, self._owners_in(span)
        return pick(self._owners, self._lookup.find(wanted))

    def _owners_in(self, span: Span) -> Int64:
        overlap = np.minimum(self._until, span.end_ns)
        overlap -= np.maximum(self._from, span.start_ns)
        np.maximum(overlap, 0, out=overlap)
        best = self._first
        if len(best) < len(overlap):
            order = np.lexsort((overlap, self._group))
            best = order[np.append(self._first[1:], len(order)) - 1]
        return np.where(overlap[best] > 0, self._owner[best], -1)
