"""Pairing: which client's and server's rows are of one edge, and which is the busiest.

Keys are sorted, not hashed: a million take 16 ms, and groups lie side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ebpf_net.reducer.keys import Bool, Int64
from ebpf_net.reducer.memory import find
from ebpf_net.reducer.rows import Rows


@dataclass(frozen=True)
class Groups:
    """Rows with one near key. ``best`` is the busiest row, ``of`` the group of each."""

    near: Int64
    far: Int64
    best: Int64
    of: Int64


@dataclass(frozen=True)
class Pairs:
    """Which rows stand for the other end of a group, -1: none.

    ``name_of_server`` is the row that names a server group's own end; ``is_near`` tells
    which groups of clients have found their server by the near key.
    """

    client_of_server: Int64
    server_of_client: Int64
    name_of_server: Int64
    is_near: Bool


@dataclass(frozen=True)
class Sides:
    """The clients' and the servers' rows, their groups, and how these were paired."""

    client_rows: Int64
    server_rows: Int64
    clients: Groups
    servers: Groups
    pairs: Pairs

    @property
    def edge_of_client(self) -> Int64:
        """For each client's row the server's row that names their edge, or -1."""
        return self.pairs.server_of_client[self.clients.of]

    @property
    def edge_of_server(self) -> Int64:
        """The same for each server's row."""
        return self.pairs.name_of_server[self.servers.of]


@dataclass(frozen=True)
class End:
    """What the rows of one end told of edges, one each, in a window.

    ``source`` is of this end, ``client`` of the client's; 0: not known. ``moved`` tells
    where there was any volume at all, ``counts`` where this end's volume is taken.
    """

    near: Int64
    far: Int64
    source: Int64
    client: Int64
    counts: Bool
    moved: Bool


@dataclass(frozen=True)
class Told:
    """What both ends told in a window."""

    clients: End
    servers: End


_KNOWLEDGE = (
    ("bytes_sent", "bytes_received"),
    ("opened", "closed"),
    ("packets_sent", "packets_received"),
)
"""What tells which end of an edge knows more of it, the most telling first."""


def pair_rows(rows: Rows, client_rows: Int64, server_rows: Int64, tie: Int64) -> Sides:
    """Group the clients' and the servers' rows and pair the groups.

    Hosts may use the same addresses, as those of docker's bridges: then an edge is
    paired on its own host first. Elsewhere one look at the far key does.
    """
    near, far, weight = rows.keys.near, rows.keys.far, rows.weight
    clients, clients_mixed = _group(far, near, client_rows, weight, tie)
    servers, servers_mixed = _group(far, near, server_rows, weight, tie)
    if not clients_mixed and not servers_mixed:
        clients = Groups(clients.far, clients.near, clients.best, clients.of)
        servers = Groups(servers.far, servers.near, servers.best, servers.of)
        pairs = _pair_far(clients, servers)
        return Sides(client_rows, server_rows, clients, servers, pairs)
    clients, _ = _group(near, far, client_rows, weight, tie)
    servers, _ = _group(near, far, server_rows, weight, tie)
    pairs = _pair_near_first(clients, servers, weight, tie)
    return Sides(client_rows, server_rows, clients, servers, pairs)


def servers_know_more(rows: Rows, sides: Sides, compared: Bool) -> Bool:
    """Tell of which groups the servers' rows add up to more than the clients'.

    ``compared`` are the servers' rows to add up.
    """
    edges = sides.pairs.name_of_server
    server_edges = np.where(compared, sides.edge_of_server, -1)
    more = np.zeros(len(edges), np.bool_)
    equal = edges >= 0
    for names in _KNOWLEDGE:
        surplus = np.zeros(len(rows), np.int64)  # by the row that names an edge
        for name in names:
            known = rows.int64(name)
            _add_paired(surplus, server_edges, known[sides.server_rows])
            _add_paired(surplus, sides.edge_of_client, -known[sides.client_rows])
        more |= equal & (surplus[edges] > 0)
        equal &= surplus[edges] == 0
    return more


def _add_paired(totals: Int64, edges: Int64, values: Int64) -> None:
    paired = edges >= 0
    np.add.at(totals, edges[paired], values[paired])


def told_by(groups: Groups, source: Int64, client: Int64, *flags: Bool) -> End:
    """Return what the rows of groups told; ``flags`` are counts and moved by row.

    ``source`` and ``client`` are by group.
    """
    by_group = []
    for flag in flags:
        any_of_group = np.zeros(len(groups.near), np.bool_)
        any_of_group[groups.of[flag]] = True
        by_group.append(any_of_group)
    return End(groups.near, groups.far, source, client, *by_group)


def group_endpoints(rows: Rows, server_rows: Int64, tie: Int64) -> Groups:
    """Group servers' rows by their endpoint."""
    keys = rows.keys
    groups, _ = _group(
        keys.near_endpoint, keys.far_endpoint, server_rows, rows.weight, tie
    )
    return groups


def _pair_far(clients: Groups, servers: Groups) -> Pairs:
    place = find(clients.far, servers.far)
    hit = place >= 0
    client_of_server = (
        np.where(hit, clients.best[place], -1) if len(clients.best) else place
    )
    server_of_client = np.full(len(clients.near), -1, np.int64)
    server_of_client[place[hit]] = servers.best[hit]
    is_near = np.zeros(len(clients.near), np.bool_)
    is_near[place[hit]] = clients.near[place[hit]] == servers.near[hit]
    name_of_server = np.where(hit, servers.best, -1)
    return Pairs(client_of_server, server_of_client, name_of_server, is_near)


def _group(
    keyed: Int64, other: Int64, rows: Int64, weight: Int64, tie: Int64
) -> tuple[Groups, bool]:
    """Group rows by a key, sorted; the busiest row stands for each group.

    The key is ``near`` of the result. Also tells whether the other key differs within
    a group.
    """
    keys = keyed[rows]
    order = np.argsort(keys)
    in_order = keys[order]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = in_order[1:] != in_order[:-1]
    number = np.cumsum(starts) - 1
    of = np.empty(len(order), np.int64)
    of[order] = number
    begin = np.flatnonzero(starts)
    ranked = rows[order]
    best = ranked[begin]
    if len(begin) < len(order):
        best = _busiest(ranked, begin, number, weight, tie)
    others = other[ranked]
    mixed = bool(((others[1:] != others[:-1]) & ~starts[1:]).any())
    return Groups(in_order[begin], other[best], best, of), mixed


def _busiest(
    ranked: Int64, begin: Int64, number: Int64, weight: Int64, tie: Int64
) -> Int64:
    """Return the row of most weight in each group; of equal ones, that of most tie."""
    for measure in (weight, tie):
        values = measure[ranked]
        most = np.maximum.reduceat(values, begin)
        left = np.flatnonzero(values == most[number])
        ranked, number = ranked[left], number[left]
        if len(ranked) == len(begin):
            return ranked
        begin = np.flatnonzero(np.diff(number, prepend=-1))
    return ranked[begin]


def _pair_near_first(
    clients: Groups, servers: Groups, weight: Int64, tie: Int64
) -> Pairs:
    """Pair groups, on the same host first."""
    client_best = np.full(len(servers.near), -1, np.int64)
    server_best = np.full(len(clients.near), -1, np.int64)
    server_self = np.full(len(servers.near), -1, np.int64)
    place = find(clients.near, servers.near)
    hit = place >= 0
    client_best[hit] = clients.best[place[hit]]
    server_best[place[hit]] = servers.best[hit]
    server_self[hit] = servers.best[hit]
    is_near = server_best >= 0
    left_clients, left_servers = np.flatnonzero(server_best < 0), np.flatnonzero(~hit)
    if len(left_clients) and len(left_servers):
        far_clients = _regroup(clients, left_clients, weight, tie)
        far_servers = _regroup(servers, left_servers, weight, tie)
        place = find(far_clients.near, far_servers.near)
        hit = place >= 0
        peer = np.full(len(far_servers.near), -1, np.int64)
        peer[hit] = far_clients.best[place[hit]]
        back = np.full(len(far_clients.near), -1, np.int64)
        back[place[hit]] = far_servers.best[hit]
        client_best[left_servers] = peer[far_servers.of]
        server_best[left_clients] = back[far_clients.of]
        joined = hit[far_servers.of]
        server_self[left_servers[joined]] = far_servers.best[far_servers.of[joined]]
    return Pairs(client_best, server_best, server_self, is_near)


def _regroup(groups: Groups, chosen: Int64, weight: Int64, tie: Int64) -> Groups:
    best = groups.best[chosen]
    regrouped, _ = _group(
        groups.far[chosen],
        groups.far[chosen],
        np.arange(len(chosen)),
        weight[best],
        tie[best],
    )
    return Groups(regrouped.near, regrouped.far, best[regrouped.best], regrouped.of)
