"""Matching: a client's row and a server's row of the same edge become one.

For each row it decides whose the other end is and whether the row's volume counts. The
client's end decides over volume where it is known, as only one end may: both are read
at slightly different moments. No wide column is touched here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ebpf_net.reducer.circumstances import Circumstances, Moment, recent_windows
from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.memory import (
    Ends,
    KnownKeys,
    Learned,
    Memory,
    concat_ends,
    find_ends,
    is_in,
    known_keys,
    no_ends,
    parts_of,
)
from ebpf_net.reducer.pairing import (
    Groups,
    Pairs,
    Sides,
    Told,
    group_endpoints,
    pair_rows,
    servers_know_more,
    told_by,
)
from ebpf_net.reducer.rows import Rows, Verdict


@dataclass(frozen=True)
class Matched:
    """What became of each row.

    ``own`` and ``peer`` are places in ``ends``: who the row's own end is taken to be,
    and who is at the other; -1: only its address is known.
    """

    ends: Ends  # of the rows, then those that were remembered
    end_keys: Int64  # one for ends that are the same
    own: Int64
    peer: Int64
    volume: Bool  # bytes, packets and connections of this row count
    peer_reports: Bool  # the other end's own rows tell what it sent
    held: Bool  # wait a window for the client's row
    superseded: Bool  # late, and the other end stood in: does not count at all

    def take(self, chosen: Bool) -> Matched:
        """Return what became of the chosen rows."""
        index = np.flatnonzero(chosen)
        return Matched(
            self.ends,
            self.end_keys,
            self.own[index],
            self.peer[index],
            self.volume[index],
            self.peer_reports[index],
            self.held[index],
            self.superseded[index],
        )


def count_gaps(rows: Rows, matched: Matched, now: Circumstances) -> tuple[int, int]:
    """Count rows of collectors that were away for a part of the window.

    First those whose other end was watched all the time; then the others: what happened
    there meanwhile is in no row that counts.
    """
    if not now.restarted or now.moment is not Moment.ON_TIME:
        return 0, 0
    restarted = is_in(rows.source, now.restarted)
    whole = np.append(is_in(matched.ends.source, now.whole or frozenset()), False)
    told = whole[matched.peer[restarted]]
    told &= rows.int64("verdict")[restarted] != Verdict.COUNTS  # whatever others told
    covered = int(np.count_nonzero(told))
    return covered, len(told) - covered


def match(
    rows: Rows, was_held: Bool, memory: Memory, now: Circumstances
) -> tuple[Matched, Learned, Told]:
    """Match the rows of one window.

    ``was_held`` are a former window's rows that waited for their client: what is told
    of this one is without them.
    """
    ends = Ends(rows.source, rows.int64("process_id"), rows.int64("cgroup_id"))
    tie = combine(ends.source, ends.process, ends.cgroup)
    client_rows = np.flatnonzero(rows.is_client)
    server_rows = np.flatnonzero(~rows.is_client)
    sides = pair_rows(rows, client_rows, server_rows, tie)
    clients, servers, pairs = sides.clients, sides.servers, sides.pairs
    draft = _Draft(ends, tie)
    held_groups = np.zeros(len(servers.near), np.bool_)
    held_groups[servers.of[was_held[server_rows]]] = True
    keeps = _keep_servers(draft, rows, sides, was_held[server_rows], now)
    decided = _decide_servers(draft, servers, pairs, held_groups, keeps, memory, now)
    _fill_clients(draft, client_rows, pairs.server_of_client[clients.of])
    endpoints = _endpoints(rows, server_rows, ends, tie)
    known = [endpoints, *recent_endpoints(memory, now)]
    _find_servers(draft, rows, client_rows, known, now)
    draft.fill_servers(server_rows, servers, pairs, decided)
    held_rows = server_rows[was_held[server_rows]]
    draft.volume[held_rows] = decided.held_counts[servers.of[was_held[server_rows]]]
    fresh = np.zeros(len(servers.near), np.bool_)
    fresh[servers.of[~was_held[server_rows]]] = True
    _yield_to_servers(draft, sides, keeps)
    if now.moment is Moment.LATE:
        _supersede(draft, rows, client_rows, memory, now)
    verdict = rows.int64("verdict")
    draft.settle(verdict)
    left_out = verdict == Verdict.LEFT_OUT
    fresh[servers.of[left_out[server_rows]]] = False
    deciding = np.flatnonzero(~left_out[clients.best])
    learned = Learned(
        known_keys(
            clients.near[deciding],
            clients.far[deciding],
            ends.take(clients.best[deciding]),
            ~pairs.is_near[deciding],
        ),
        _keys_only(servers, decided.counts & ~decided.held & fresh),
        endpoints,
    )
    matched = draft.matched()
    return matched, learned, _told(rows, sides, matched, ~was_held)


def _told(rows: Rows, sides: Sides, matched: Matched, fresh: Bool) -> Told:
    source = np.append(matched.ends.source, 0)
    clients, servers = sides.clients, sides.servers
    flags = matched.volume & fresh & ~matched.held, rows.moved & fresh
    of_clients = (flag[sides.client_rows] for flag in flags)
    of_servers = (flag[sides.server_rows] for flag in flags)
    client, server = source[clients.best], source[servers.best]
    return Told(
        told_by(clients, client, client, *of_clients),
        told_by(servers, server, source[matched.peer[servers.best]], *of_servers),
    )


@dataclass
class _Draft:
    """A Matched in the making."""

    ends: Ends
    keys: Int64

    def __post_init__(self) -> None:
        count = len(self.ends)
        self.own = np.arange(count)
        self.peer = np.full(count, -1, np.int64)
        self.volume = np.ones(count, np.bool_)
        self.peer_reports = np.zeros(count, np.bool_)
        self.held = np.zeros(count, np.bool_)
        self.superseded = np.zeros(count, np.bool_)
        self.remembered: list[Ends] = []
        self.end_count = count

    def remember(self, ends: Ends) -> Int64:
        """Add ends that have no row; return their places."""
        first = self.end_count
        self.end_count += len(ends)
        self.remembered.append(ends)
        return np.arange(first, self.end_count)

    def fill_servers(
        self, rows: Int64, servers: Groups, pairs: Pairs, decided: _Decided
    ) -> None:
        """Give servers' rows what was decided for their groups."""
        self.peer[rows] = decided.peer[servers.of]
        self.peer_reports[rows] = decided.client_known[servers.of]
        self.volume[rows] = decided.counts[servers.of]
        self.held[rows] = decided.held[servers.of]
        named = pairs.name_of_server[servers.of]
        self.own[rows] = np.where(named >= 0, named, rows)

    def settle(self, verdict: Int64) -> None:
        """Let rows count or not of which that was decided before."""
        decided = verdict != Verdict.OPEN
        self.volume[decided] = verdict[decided] == Verdict.COUNTS
        self.held[decided] = False
        self.superseded[decided] = False

    def matched(self) -> Matched:
        """Return the result."""
        later = concat_ends(self.remembered)
        keys = combine(later.source, later.process, later.cgroup)
        return Matched(
            concat_ends([self.ends, later]),
            np.concatenate([self.keys, keys]),
            self.own,
            self.peer,
            self.volume,
            self.peer_reports,
            self.held,
            self.superseded,
        )


@dataclass(frozen=True)
class _Decided:
    """What was decided for each group of servers' rows."""

    peer: Int64
    client_known: Bool
    counts: Bool  # its volume
    held: Bool
    held_counts: Bool  # volume of the rows that were held


def _keep_servers(
    draft: _Draft, rows: Rows, sides: Sides, was_held: Bool, now: Circumstances
) -> Bool:
    """Tell for which groups the server decides although there is a client's row.

    Each end tells the less the longer its collector was away. So where the client's
    was, the end that tells more decides.
    """
    keeps = np.zeros(len(sides.servers.near), np.bool_)
    if not now.gapped or now.moment is not Moment.ON_TIME:
        return keeps
    paired = np.flatnonzero(sides.pairs.client_of_server >= 0)
    client = draft.ends.source[sides.pairs.client_of_server[paired]]
    keeps[paired] = is_in(client, now.gapped)
    if not keeps.any():
        return keeps
    # What was held is a part of this window's comparison if the client's collector may
    # have seen it in this one; otherwise it counts in any case.
    told = np.ones(len(keeps), np.bool_)
    if now.held_whole is not None:
        told[paired] = is_in(client, now.held_whole)
    compared = ~was_held | told[sides.servers.of]
    return keeps & servers_know_more(rows, sides, compared)


def _decide_servers(
    draft: _Draft,
    servers: Groups,
    pairs: Pairs,
    was_held: Bool,
    keeps: Bool,
    memory: Memory,
    now: Circumstances,
) -> _Decided:
    peer = pairs.client_of_server.copy()
    has_row = peer >= 0
    recent = recent_windows(now)
    lonely = np.flatnonzero(~has_row)
    found, remembered = find_ends(
        parts_of(memory.clients, recent),
        servers.near[lonely],
        servers.far[lonely],
    )
    was_seen = found.copy()
    if now.whole is not None:
        found &= is_in(remembered.source, now.whole)
    if now.moment is not Moment.ON_TIME:
        found |= _has_counted(memory, now.number, servers, lonely)
    known = has_row.copy()
    known[lonely[found]] = True
    named = was_seen & (remembered.source != 0)
    peer[lonely[named]] = draft.remember(remembered.take(np.flatnonzero(named)))
    no = np.zeros(len(peer), np.bool_)
    if now.moment is Moment.RELEASED:
        return _Decided(peer, known, ~known, no, no)
    asked = np.flatnonzero(~known)
    stood_in = was_held.copy()
    stood_in[lonely[was_seen]] = True  # if its client is dead, there is no waiting
    stood_in[asked] |= find_ends(
        parts_of(memory.stood_in, recent), servers.near[asked], servers.far[asked]
    )[0]
    counts = ~known | keeps
    held = counts & ~stood_in & ~keeps
    if now.moment is Moment.LATE:
        held[:] = False
    # Held rows were to see whether the client's row comes a window later, being read
    # a moment later. Where its collector had told nothing of theirs, they count.
    source = np.zeros(len(peer), np.int64)
    source[has_row] = draft.ends.source[peer[has_row]]
    source[lonely] = remembered.source
    told = has_row.copy()
    told[lonely[was_seen]] = True
    if now.held_whole is not None:
        told &= is_in(source, now.held_whole)
    held_counts = ~told | keeps
    waiting = np.flatnonzero(was_held)
    held_counts[waiting] &= ~_has_counted(memory, now.held_number, servers, waiting)
    return _Decided(peer, known, counts, held, held_counts)


def _has_counted(memory: Memory, number: int, servers: Groups, chosen: Int64) -> Bool:
    """Tell of which groups a client's row of this very window has counted."""
    keys = servers.near[chosen], servers.far[chosen]
    has_row, _ = find_ends(parts_of(memory.clients, [number]), *keys)
    replaced, _ = find_ends(parts_of(memory.stood_in, [number]), *keys)
    return has_row & ~replaced


def recent_endpoints(memory: Memory, now: Circumstances) -> list[KnownKeys]:
    """Return who served lately."""
    return list(parts_of(memory.endpoints, recent_windows(now)))


def _fill_clients(draft: _Draft, client_rows: Int64, peer: Int64) -> None:
    draft.peer[client_rows] = peer
    draft.peer_reports[client_rows] = peer >= 0


def _find_servers(
    draft: _Draft,
    rows: Rows,
    client_rows: Int64,
    endpoints: list[KnownKeys],
    now: Circumstances,
) -> None:
    """Find servers that have no row for these clients among the known endpoints."""
    alone = client_rows[draft.peer[client_rows] < 0]
    if not len(alone):
        return
    found, remembered = find_ends(
        endpoints,
        rows.keys.near_endpoint[alone],
        rows.keys.far_endpoint[alone],
        now.live if now.moment is Moment.ON_TIME else None,
    )
    draft.peer[alone[found]] = draft.remember(remembered.take(np.flatnonzero(found)))
    draft.peer_reports[alone[found]] = True


def _yield_to_servers(draft: _Draft, sides: Sides, keeps: Bool) -> None:
    if keeps.any():
        yielded = np.isin(sides.edge_of_client, sides.pairs.name_of_server[keeps])
        draft.volume[sides.client_rows[yielded]] = False


def _supersede(
    draft: _Draft, rows: Rows, client_rows: Int64, memory: Memory, now: Circumstances
) -> None:
    replaced, _ = find_ends(
        parts_of(memory.stood_in, [now.number]),
        rows.keys.near[client_rows],
        rows.keys.far[client_rows],
    )
    draft.superseded[client_rows] = replaced
    draft.volume[client_rows] &= ~replaced


def _keys_only(groups: Groups, chosen: Bool) -> KnownKeys:
    near, far = groups.near[chosen], groups.far[chosen]
    return known_keys(near, far, no_ends(), np.ones(len(near), np.bool_))


def _endpoints(rows: Rows, server_rows: Int64, ends: Ends, tie: Int64) -> KnownKeys:
    groups = group_endpoints(rows, server_rows, tie)
    usable = np.ones(len(groups.near), np.bool_)
    return known_keys(groups.near, groups.far, ends.take(groups.best), usable)
