"""Translation: the ends of a connection meet although they saw other addresses.

A host that translates resolves its own sockets. Where the translating host is neither
end's, its ``translations`` say what became of whose connections, without ephemeral
ports. What they connect is one passage: clients' rows at one side and servers' rows at
the other tell the same traffic. One side decides over its volume: the clients' where
all of them are watched, else the servers' where all of those are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.lookups import only_one
from ebpf_net.reducer.memory import find
from ebpf_net.reducer.rows import Rows, Verdict, concat_rows, int64_column, numpy_column
from ebpf_net.reducer.translation_table import Passages
from ebpf_net.reducer.watched import Watched

_MOST_HOPS = 4
_KEPT = frozenset(
    {
        "local_address_high", "local_address_low", "netns", "process_id", "cgroup_id",
        "local_port", "protocol", "role", "scope",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Translated:
    """Rows with the true ends, and how many were left out without all being told.

    Those are of passages that neither side is watched all of.
    """

    rows: Rows
    unresolved: int = 0


def translate(rows: Rows, passages: Passages, watched: Watched) -> Translated:
    """Join the ends of what other hosts have translated.

    Rows that it has translated before it finds as they are.
    """
    if not passages.size or not len(rows):
        return Translated(rows)
    node = find(passages.nodes, rows.keys.far)
    node[_is_private(rows)] = -1
    if not (node >= 0).any():
        return Translated(rows)
    is_client = rows.is_client
    ends = _Ends(passages.among(node[is_client]), passages.among(node[~is_client]))
    decided = _decide(passages, ends, watched)
    inside = np.flatnonzero(node >= 0)
    part = passages.part[node[inside]]
    counts = is_client[inside] != decided.by_servers[part]
    verdict = np.zeros(len(rows), np.int64)
    verdict[inside] = np.where(counts, Verdict.COUNTS, Verdict.LEFT_OUT)
    verdict[inside[counts & decided.may_wait[part]]] = Verdict.OPEN
    unresolved = int((~counts & ~decided.is_told[part]).sum())
    rows = _set(rows, np.arange(len(rows)), {"verdict": verdict})
    shares = _name_servers(rows, node, passages, ends)
    rows = _follow(rows, node, passages, ends)
    return Translated(concat_rows([rows, shares]), unresolved)


def _is_private(rows: Rows) -> Bool:
    """Tell which rows' own address is one that other hosts have, too.

    As those of docker's bridges. Nobody else can tell what is done to such an address.
    """
    own = combine(
        rows.int64("local_address_high"),
        rows.int64("local_address_low"),
        rows.int64("scope"),
    )
    return ~only_one(own, rows.boot)


@dataclass(frozen=True)
class _Ends:
    """Which nodes have rows of this window."""

    client: Bool
    server: Bool


@dataclass(frozen=True)
class _Decided:
    """What was decided of each part."""

    by_servers: Bool  # their rows count, not the clients'
    may_wait: Bool  # and no client is known yet: its row may come a window later
    is_told: Bool  # wholly, by the side that counts


def _decide(passages: Passages, ends: _Ends, watched: Watched) -> _Decided:
    begins = np.bincount(passages.end, minlength=passages.size) == 0
    stops = np.bincount(passages.start, minlength=passages.size) == 0
    has_client, has_server = ends.client.copy(), ends.server.copy()
    has_client[passages.start[watched.anywhere(passages.steps.addresses("client"))]] = 1
    has_server[passages.end[watched.anywhere(passages.steps.addresses("server"))]] = 1

    def some(chosen: Bool) -> Bool:
        return np.bincount(passages.part[chosen], minlength=passages.size) > 0

    clients_whole = ~some(begins & ~has_client)
    servers_whole = ~some(stops & ~has_server)
    any_client = some((begins & has_client) | ends.client)
    any_server = some((stops & has_server) | ends.server)
    by_servers = any_server & (~any_client | (~clients_whole & servers_whole))
    is_told = clients_whole | servers_whole | ~any_client | ~any_server
    return _Decided(by_servers, by_servers & ~any_client, is_told)


def _name_servers(rows: Rows, node: Int64, passages: Passages, ends: _Ends) -> Rows:
    """Return rows without volume that name the client to the servers it may mean."""
    wanted = np.flatnonzero(rows.is_client & (node >= 0))
    towards, _ = passages.only(passages.start, passages.end)
    is_open = (towards[node[wanted]] < 0) | ends.server[node[wanted]]
    wanted = wanted[is_open]
    first = np.searchsorted(passages.start, node[wanted], "left")
    count = np.searchsorted(passages.start, node[wanted], "right") - first
    owner = np.repeat(np.arange(len(wanted)), count)
    step = first[owner] + np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
    present = ends.server[passages.end[step]]
    shares = _no_volume(rows, wanted[owner[present]])
    every = np.arange(len(shares))
    shares = _lead(shares, every, passages.steps.table, step[present])
    verdict = np.full(len(shares), int(Verdict.LEFT_OUT))
    return _set(shares, every, {"verdict": verdict})


def _follow(rows: Rows, node: Int64, passages: Passages, ends: _Ends) -> Rows:
    """Let rows name their other end where the passage leads to one only."""
    table = passages.steps.table
    chosen, step = _walk(
        np.flatnonzero(rows.is_client & (node >= 0)),
        node,
        passages.only(passages.start, passages.end),
        ends.server,
    )
    rows = _lead(rows, chosen, table, step)
    unnamed = ~rows.is_client & (node >= 0) & (rows.int64("translation_id") == 0)
    backwards = passages.only(passages.end, passages.start)
    chosen, step = _walk(np.flatnonzero(unnamed), node, backwards, ends.client)
    return _trace(rows, chosen, table, step)


def _walk(
    chosen: Int64, node: Int64, only: tuple[Int64, Int64], direct: Bool
) -> tuple[Int64, Int64]:
    """Return the rows that come to an end by single steps, and the last of these.

    ``direct``: nodes with a row of the other end, which may be the one that is meant.
    """
    towards, by = only
    at, step = node[chosen], np.full(len(chosen), -1, np.int64)
    going = ~direct[at]
    for _ in range(_MOST_HOPS):
        going &= towards[at] >= 0
        step[going] = by[at[going]]
        at = np.where(going, towards[at], at)
    is_end = (step >= 0) & (by[at] < 0)
    return chosen[is_end], step[is_end]


def _lead(rows: Rows, chosen: Int64, table: pa.Table, step: Int64) -> Rows:
    """Let clients' rows be of the server that these steps lead to."""
    if not len(chosen):
        return rows
    values = {
        f"{theirs}_address_{half}": int64_column(table, f"{ours}_address_{half}")[step]
        for theirs, ours in (("remote", "server"), ("outer", "outer"))
        for half in ("high", "low")
    }
    values["remote_port"] = int64_column(table, "server_port")[step]
    values["translation_id"] = int64_column(table, "translation_id")[step]
    return _set(rows, chosen, values)


def _trace(rows: Rows, chosen: Int64, table: pa.Table, step: Int64) -> Rows:
    """Let servers' rows name the client that these steps come from."""
    if not len(chosen):
        return rows
    values = {}
    for half in ("high", "low"):
        seen = rows.int64(f"remote_address_{half}")[chosen]
        values[f"outer_address_{half}"] = seen
        name = f"client_address_{half}"
        values[f"remote_address_{half}"] = int64_column(table, name)[step]
    values["translation_id"] = int64_column(table, "translation_id")[step]
    return _set(rows, chosen, values)


def see_from_outside(rows: Rows, translations: pa.Table) -> Rows:
    """Set the outer address of rows that their own host has translated.

    ``translations`` are ``schema.TRANSLATIONS`` of all hosts.
    """
    own = rows.int64("translation_id")
    known = np.flatnonzero(own)
    identity, first = np.unique(
        int64_column(translations, "translation_id"), return_index=True
    )
    place = find(identity, own[known])
    known, place = known[place >= 0], first[place[place >= 0]]
    if not len(known):
        return rows
    values = {
        f"outer_address_{half}": int64_column(translations, f"outer_address_{half}")[
            place
        ]
        for half in ("high", "low")
    }
    return _set(rows, known, values)


def _no_volume(rows: Rows, chosen: Int64) -> Rows:
    """Return copies of rows that say who, but not how much."""
    taken = rows.without_samples(chosen)
    edges = taken.edges
    for index, field in enumerate(edges.schema):
        if field.name not in _KEPT:
            zeros = pa.array(np.zeros(len(taken), field.type.to_pandas_dtype()))
            edges = edges.set_column(index, field, zeros)
    return Rows(edges, taken.samples, taken.source, taken.boot)


def _set(rows: Rows, chosen: Int64, values: Mapping[str, Int64]) -> Rows:
    """Return rows with other values in the chosen places."""
    edges = rows.edges
    for name, value in values.items():
        index = edges.schema.get_field_index(name)
        column = numpy_column(edges, name).copy()
        column[chosen] = value.astype(column.dtype)
        edges = edges.set_column(index, edges.schema.field(index), pa.array(column))
    return Rows(edges, rows.samples, rows.source, rows.boot)
