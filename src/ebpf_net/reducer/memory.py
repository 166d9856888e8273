"""Which edges were seen from which end in the last windows: bounded, columns only.

One immutable set of arrays a window and end, so that a window costs an append and
forgetting is dropping the oldest. Late rows find here whether the other end has
already stood in for them; a restart carries it over.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ebpf_net.reducer.keys import Bool, EdgeKeys, Int64

RECENT_WINDOWS = 4
"""How long an end that had a row counts as known without having another."""

_MANY_WANTED, _MANY_KEYS = 4096, 256
"""From where on it is faster to sort what is looked up."""

MEMORY_FIELDS = ("clients", "stood_in", "endpoints")
"""What is known of each window: fields of Learned, and of Memory by window."""


@dataclass(frozen=True)
class Ends:
    """Who is at an end: the source of its rows, its process and its cgroup."""

    source: Int64
    process: Int64
    cgroup: Int64

    def take(self, index: Int64) -> Ends:
        """Return the chosen ones."""
        return Ends(self.source[index], self.process[index], self.cgroup[index])

    def __len__(self) -> int:
        return len(self.source)


def no_ends(count: int = 0) -> Ends:
    """Return ends that are nobody."""
    return Ends(*(np.zeros(count, np.int64) for _ in range(3)))


def concat_ends(parts: Iterable[Ends]) -> Ends:
    """Return all ends of the parts."""
    parts = [no_ends(), *parts]
    return Ends(
        np.concatenate([part.source for part in parts]),
        np.concatenate([part.process for part in parts]),
        np.concatenate([part.cgroup for part in parts]),
    )


@dataclass(frozen=True)
class KnownKeys:
    """Keys of one window; ``near`` is sorted, ``ends`` goes with it (or is empty).

    ``far`` is sorted on its own, ``far_index`` are its places in ``near``.
    """

    near: Int64
    far: Int64
    far_index: Int64
    ends: Ends

    def __len__(self) -> int:
        return len(self.near)


@dataclass(frozen=True)
class Learned:
    """What memory is to know of a window."""

    clients: KnownKeys  # edges with a client's row
    stood_in: KnownKeys  # edges for which the server's row decided
    endpoints: KnownKeys  # servers


def known_keys(near: Int64, far: Int64, ends: Ends, far_usable: Bool) -> KnownKeys:
    """Return keys ready to be looked up; ``near`` has no repetition."""
    order = np.argsort(near)
    far_sorted, usable = far[order], far_usable[order]
    places = np.flatnonzero(usable)
    far_order = np.argsort(far_sorted[places])
    places = places[far_order]
    kept = ends.take(order) if len(ends) else ends
    return KnownKeys(near[order], far_sorted[places], places, kept)


def is_in(values: Int64, wanted: frozenset[int]) -> Bool:
    """Tell which values are among the wanted ones."""
    return np.isin(values, np.fromiter(wanted, np.int64, len(wanted)))


def find(sorted_keys: Int64, wanted: Int64) -> Int64:
    """Return the place of each wanted key in the sorted ones, or -1."""
    if not len(sorted_keys):
        return np.full(len(wanted), -1, np.int64)
    if len(wanted) < _MANY_WANTED or len(sorted_keys) < _MANY_KEYS:
        return _find(sorted_keys, wanted)
    # In order, each search begins in the cache where the one before has ended.
    order = np.argsort(wanted)
    place = np.empty(len(wanted), np.int64)
    place[order] = _find(sorted_keys, wanted[order])
    return place


def _find(sorted_keys: Int64, wanted: Int64) -> Int64:
    place = np.searchsorted(sorted_keys, wanted)
    np.minimum(place, len(sorted_keys) - 1, out=place)
    return np.where(sorted_keys[place] == wanted, place, -1)


def find_known(known: KnownKeys, near: Int64, far: Int64) -> Int64:
    """Return for each edge its place among the known ones, near first, or -1."""
    place = find(known.near, near)
    missing = np.flatnonzero(place < 0)
    if len(missing) and len(known.far):
        other = find(known.far, far[missing])
        place[missing] = np.where(other >= 0, known.far_index[other], -1)
    return place


def find_ends(
    parts: Iterable[KnownKeys],
    near: Int64,
    far: Int64,
    live: frozenset[int] | None = None,
) -> tuple[Bool, Ends]:
    """Tell which edges have an end in these parts, and who it is; the first one counts.

    With ``live``, ends of other sources do not count.
    """
    found = np.zeros(len(near), np.bool_)
    ends = no_ends(len(near))
    for known in parts:
        wanted = np.flatnonzero(~found)
        if not len(wanted):
            break
        place = find_known(known, near[wanted], far[wanted])
        hit = place >= 0
        if live is not None and len(known.ends):
            hit &= is_in(known.ends.source[place], live)
        rows = wanted[hit]
        found[rows] = True
        if len(known.ends):
            ends.source[rows] = known.ends.source[place[hit]]
            ends.process[rows] = known.ends.process[place[hit]]
            ends.cgroup[rows] = known.ends.cgroup[place[hit]]
    return found, ends


def parts_of(
    windows: dict[int, list[KnownKeys]], numbers: Iterable[int]
) -> Iterator[KnownKeys]:
    """Return what is known of these windows, in their order."""
    for number in numbers:
        yield from reversed(windows.get(number, ()))


@dataclass
class Memory:
    """Edges that a client reported, edges for which a server stood in, endpoints.

    What a window costs does not depend on how many windows are remembered.
    """

    max_keys: int = 4_000_000
    forgotten: int = 0
    clients: dict[int, list[KnownKeys]] = field(default_factory=dict)
    stood_in: dict[int, list[KnownKeys]] = field(default_factory=dict)
    endpoints: dict[int, list[KnownKeys]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)  # keys of each window
    _numbers: list[int] = field(default_factory=list)  # of windows, as a heap
    _named: set[int] = field(default_factory=set)  # windows that may have ends
    _changed: set[int] = field(default_factory=set)
    _size: int = 0

    def __len__(self) -> int:
        return self._size

    def learn(self, number: int, learned: Learned) -> None:
        """Take what the matching of a window has found."""
        for name in MEMORY_FIELDS:
            self.put(name, number, getattr(learned, name))

    def put(self, name: str, number: int, known: KnownKeys) -> None:
        """Take keys of a window; ``name`` is one of MEMORY_FIELDS."""
        if len(known):
            getattr(self, name).setdefault(number, []).append(known)
            self._note(number, len(known))

    def follow(self, numbers: Iterable[int], old: EdgeKeys, new: EdgeKeys) -> None:
        """Let what is known of old keys in these windows be known of new ones, too."""
        edges = (old.near, old.far), (new.near, new.far)
        endpoints = (
            (old.near_endpoint, old.far_endpoint),
            (new.near_endpoint, new.far_endpoint),
        )
        for number in numbers:
            more = _follow(self.clients.get(number, []), *edges)
            more += _follow(self.stood_in.get(number, []), *edges)
            more += _follow(self.endpoints.get(number, []), *endpoints)
            if more:
                self._note(number, more)

    def take_changed(self) -> set[int]:
        """Return the windows of which something was learned or lost since last time."""
        changed, self._changed = self._changed, set()
        return changed

    def forget(self, newest: int, oldest: int) -> None:
        """Drop windows before ``oldest``, and the oldest ones while over the bound."""
        while self._numbers and self._numbers[0] < oldest:
            self._drop_oldest()
        before = newest - RECENT_WINDOWS
        for number in [number for number in self._named if number < before]:
            self._drop_ends(number)
        while self._size > self.max_keys:
            self.forgotten += self._drop_oldest()

    def _note(self, number: int, more: int) -> None:
        if number not in self.sizes:
            heapq.heappush(self._numbers, number)
        self.sizes[number] = self.sizes.get(number, 0) + more
        self._size += more
        self._named.add(number)
        self._changed.add(number)

    def _drop_oldest(self) -> int:
        """Drop a window; return how many keys it had."""
        number = heapq.heappop(self._numbers)
        for windows in (self.clients, self.stood_in, self.endpoints):
            windows.pop(number, None)
        size = self.sizes.pop(number)
        self._size -= size
        self._named.discard(number)
        self._changed.add(number)
        return size

    def _drop_ends(self, number: int) -> None:
        """Drop who was at the ends of a window's edges."""
        self._named.discard(number)
        self._changed.add(number)
        size = sum(len(known) for known in self.endpoints.pop(number, ()))
        self.sizes[number] -= size
        self._size -= size
        if number in self.clients:
            self.clients[number] = [
                KnownKeys(known.near, known.far, known.far_index, no_ends())
                for known in self.clients[number]
            ]


def _follow(
    parts: list[KnownKeys], old: tuple[Int64, Int64], new: tuple[Int64, Int64]
) -> int:
    """Add the new keys of those known by their old ones only; return how many."""
    added = 0
    unknown = np.ones(len(new[0]), np.bool_)
    for known in parts:
        unknown &= find_known(known, *new) < 0
    for known in tuple(parts):
        asked = np.flatnonzero(unknown)
        place = find_known(known, old[0][asked], old[1][asked])
        hit = np.flatnonzero(place >= 0)
        near, first = np.unique(new[0][asked[hit]], return_index=True)
        if not len(near):
            continue
        chosen = hit[first]
        ends = known.ends.take(place[chosen]) if len(known.ends) else known.ends
        usable = np.ones(len(near), np.bool_)
        parts.append(known_keys(near, new[1][asked[chosen]], ends, usable))
        unknown[asked[hit]] = False
        added += len(near)
    return added
