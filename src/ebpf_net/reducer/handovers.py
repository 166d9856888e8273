"""Handovers: edges whose volume comes from another end than in the window before.

Both ends are read at slightly different moments. What moves in between is in one
window's row of the one end and in the other window's row of the other end: it counts
twice or not at all if authority passes just then. How much that is cannot be known
without adding up what each end ever told, and connections that were aborted let that
differ for ever. So such edges are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ebpf_net.reducer.circumstances import Circumstances
from ebpf_net.reducer.keys import Bool, Int64
from ebpf_net.reducer.memory import (
    RECENT_WINDOWS,
    KnownKeys,
    Memory,
    find,
    find_ends,
    is_in,
    parts_of,
)
from ebpf_net.reducer.pairing import End, Told


@dataclass(frozen=True)
class _Before:
    """A window that was reduced.

    ``sources`` told of it and those of ``whole`` told all of it, as was known when it
    was reduced. Without ``told`` memory has to say which edges there were.
    """

    number: int = -1
    sources: frozenset[int] = frozenset()
    whole: frozenset[int] = frozenset()
    told: Told | None = None


@dataclass(frozen=True)
class _Edges:
    """Edges of which a client's collector came, went or was away for a while."""

    near: Int64
    far: Int64
    client: Int64  # the source of the client's end

    def __len__(self) -> int:
        return len(self.near)


@dataclass(frozen=True)
class _Seen:
    """What a window says of edges, one each.

    The server ``decides``, or the client does: ``whole`` if it saw all of the window.
    """

    client_moved: Bool
    server_moved: Bool
    server: Int64  # the source of the server's end; 0: it has no row
    server_decides: Bool
    client_decides: Bool


class Handovers:
    """Counts handovers from window to window. Not thread-safe."""

    def __init__(self) -> None:
        self._last = _Before()
        self._unsteady: dict[int, frozenset[int]] = {}  # of recent windows

    def count(self, told: Told, memory: Memory, now: Circumstances) -> int:
        """Return of how many edges something moved as authority may have passed.

        That is between this window and the one before. In the steady state there is
        nothing to look at.
        """
        before = self._window_before(now.number - 1)
        whole = now.whole or frozenset()
        self._last = _Before(now.number, now.told, whole, told)
        steady = whole & before.whole if before.number >= 0 else whole
        changed = (before.sources | now.told) - steady
        unsteady = changed.union(*self._recent(now.number))
        if changed:
            self._unsteady[now.number] = changed
        if not unsteady or before.number < 0:
            return 0
        told_before = before.told or _remembered(memory, before.number)
        edges = _edges_of(unsteady, (told, told_before))
        if not len(edges):
            return 0
        first = _look_up(edges, told_before, memory, before.number, before.whole)
        second = _look_up(edges, told, memory, now.number, whole)
        return int(np.count_nonzero(_may_differ(edges, first, second, now.crossed)))

    def to_json(self) -> dict[str, object]:
        """Return what a restart needs besides the memory."""
        last = self._last
        return {
            "number": last.number,
            "sources": sorted(last.sources),
            "whole": sorted(last.whole),
            "unsteady": [[one, sorted(keys)] for one, keys in self._unsteady.items()],
        }

    def from_json(self, value: Mapping[str, Any]) -> None:
        """Take what to_json returned."""
        if value:
            sources, whole = frozenset(value["sources"]), frozenset(value["whole"])
            self._last = _Before(value["number"], sources, whole)
            self._unsteady = {one: frozenset(keys) for one, keys in value["unsteady"]}

    def _recent(self, number: int) -> Iterable[frozenset[int]]:
        """Return of which sources authority may pass yet, as they came or went.

        For so long a server that stood in counts at once what its client tells later.
        """
        for old in [old for old in self._unsteady if old < number - RECENT_WINDOWS]:
            del self._unsteady[old]
        return self._unsteady.values()

    def _window_before(self, number: int) -> _Before:
        # If nobody told anything of it, nothing can have moved on from it.
        return self._last if self._last.number == number else _Before()


def _may_differ(
    edges: _Edges, first: _Seen, second: _Seen, crossed: frozenset[int]
) -> Bool:
    """Tell of which edges a byte may count in both windows, or in none.

    One end must have seen it before the windows parted, the other after. An end that
    has not told of both sides of that moment may have seen what it did not tell.
    """
    steady = first.server_decides & second.server_decides
    steady |= first.client_decides & second.client_decides
    server = np.where(second.server != 0, second.server, first.server)
    client_silent = ~is_in(edges.client, crossed)
    server_silent = ~is_in(server, crossed)
    server_first = first.server_moved & (second.client_moved | client_silent)
    client_first = first.client_moved & (second.server_moved | server_silent)
    may: Bool = ~steady & (server != 0) & (server_first | client_first)
    return may


def _edges_of(unsteady: frozenset[int], windows: Iterable[Told]) -> _Edges:
    """Return the edges of which the client's end is one of these sources, each once."""
    edges = _Edges(*(np.empty(0, np.int64) for _ in range(3)))
    for told in windows:
        for end in (told.clients, told.servers):
            chosen = np.flatnonzero(is_in(end.client, unsteady))
            near, far = end.near[chosen], end.far[chosen]
            new = _find(edges.near, edges.far, near, far) < 0
            edges = _Edges(
                np.concatenate([edges.near, near[new]]),
                np.concatenate([edges.far, far[new]]),
                np.concatenate([edges.client, end.client[chosen][new]]),
            )
    return edges


def _look_up(
    edges: _Edges, told: Told, memory: Memory, number: int, whole: frozenset[int]
) -> _Seen:
    client = _find(told.clients.near, told.clients.far, edges.near, edges.far)
    server = _find(told.servers.near, told.servers.far, edges.near, edges.far)
    # What was held when the window was reduced has been decided since.
    stood_in = parts_of(memory.stood_in, [number])
    decides, _ = find_ends(stood_in, edges.near, edges.far)
    decides |= _pick(told.servers.counts, server)
    decides |= (client >= 0) & ~_pick(told.clients.counts, client)
    return _Seen(
        _pick(told.clients.moved, client),
        _pick(told.servers.moved, server),
        np.where(server >= 0, _pick_number(told.servers.source, server), 0),
        decides,
        ~decides & is_in(edges.client, whole),
    )


def _find(near: Int64, far: Int64, *wanted: Int64) -> Int64:
    """Return the place of each wanted edge by its near key, else by its far, or -1."""
    if (far[1:] > far[:-1]).all():  # so no address is on two hosts
        return find(far, wanted[1])
    result = np.full(len(wanted[0]), -1, np.int64)
    for keys, asked in zip((near, far), wanted, strict=True):
        missing = np.flatnonzero(result < 0)
        if len(missing):
            order = np.argsort(keys)
            place = find(keys[order], asked[missing])
            result[missing] = np.where(place >= 0, _pick_number(order, place), -1)
    return result


def _pick(values: Bool, place: Int64) -> Bool:
    """Return the values at these places, False at -1."""
    return np.append(values, False)[place]


def _pick_number(values: Int64, place: Int64) -> Int64:
    """Return the values at these places, 0 at -1."""
    return np.append(values, 0)[place]


def _remembered(memory: Memory, number: int) -> Told:
    """Return the edges of a window before a restart of the reducer.

    What moved is not known, nor which of the clients' edges a server told of, too.
    """
    clients = [_from_keys(known) for known in memory.clients.get(number, ())]
    servers = [_from_keys(known) for known in memory.stood_in.get(number, ())]
    passive = [
        replace(end, source=end.source * 0, counts=~end.counts) for end in clients
    ]
    return Told(_joined(clients), _joined(servers + passive))


def _from_keys(known: KnownKeys) -> End:
    far = np.zeros(len(known), np.int64)
    far[known.far_index] = known.far
    nobody = np.full(len(known), -1, np.int64)
    source = known.ends.source if len(known.ends) else nobody
    every = np.ones(len(known), np.bool_)
    return End(known.near, far, source, source, every, every)


def _joined(parts: list[End]) -> End:
    empty = [np.empty(0, np.int64)] * 4 + [np.empty(0, np.bool_)] * 2
    columns = [[*vars(part).values()] for part in parts] or [empty]
    return End(*(np.concatenate(same) for same in zip(*columns, strict=True)))
