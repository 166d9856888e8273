"""Translation: the ends of a connection meet although they saw other addresses.

A host that translates resolves its own sockets. Where the translating host is neither
end's, its ``translations`` say what became of whose connections, without ephemeral
ports. A client's row that can only mean one server becomes a row of that server; one
that may mean several is left to the servers' rows where all of them are watched and
have no other client behind the same address, and else counts for what was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.rows import Rows, concat_rows, int64_column, numpy_column

Covered = Callable[[Int64], Bool]
"""Tells which far endpoint keys are of servers whose collectors report."""

_KEPT = frozenset(
    {
        "local_address_high", "local_address_low", "netns", "process_id", "cgroup_id",
        "local_port", "protocol", "role",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Translated:
    """Rows as the servers saw them, and how many of them stayed ambiguous."""

    rows: Rows
    unresolved: int = 0


def translate(rows: Rows, translations: pa.Table, covered: Covered) -> Translated:
    """Give each row the addresses that the other end knows the connection by.

    ``translations`` are ``schema.TRANSLATIONS`` of all hosts with ``source``.
    """
    if not translations.num_rows or not len(rows):
        return Translated(rows)
    table = _Table.of(translations)
    rows = _see_from_outside(rows, table)
    rows, hidden = _see_from_inside(rows, table)
    clients = np.flatnonzero(rows.is_client)
    first, count = table.options(_asked(rows, clients))
    only = count == 1
    rows = _rewrite(rows, clients[only], table, first[only])
    several = count > 1
    options = _Options(first[several], count[several])
    rows, unresolved = _divide(rows, clients[several], table, options, covered)
    hidden = hidden[~np.isin(rows.keys.far[hidden], rows.keys.far[rows.is_client])]
    return Translated(rows, unresolved + len(hidden))


@dataclass(frozen=True)
class _Options:
    """What a row may mean: places ``first`` to ``first + count`` in the table."""

    first: Int64
    count: Int64

    def flat(self) -> tuple[Int64, Int64]:
        """Return the place of every option, and the position of its row."""
        owner = np.repeat(np.arange(len(self.count)), self.count)
        within = np.arange(len(owner)) - np.repeat(
            np.cumsum(self.count) - self.count, self.count
        )
        return self.first[owner] + within, owner

    def every(self, holds: Bool) -> Bool:
        """Tell of which rows all options hold; one value an option of ``flat``."""
        starts = np.cumsum(self.count) - self.count
        result: Bool = np.logical_and.reduceat(holds, starts)
        return result


@dataclass(frozen=True)
class _Table:
    """Distinct translations, sorted by what the client asked for."""

    table: pa.Table
    asked: Int64  # client and what it asked for
    seen: Int64  # the far key of the server's row
    endpoint: Int64  # the server's far endpoint key
    identity: Int64
    source: Int64
    lonely: Bool  # no other client is behind the same outer address to this server
    hides: Bool  # the server sees another address than the client's

    @staticmethod
    def of(translations: pa.Table) -> _Table:
        """Sort translations and leave out what repeats."""
        client = _pair(translations, "client_address")
        server, outer = (_pair(translations, f"{end}_address")
                         for end in ("server", "outer"))  # fmt: skip
        protocol = int64_column(translations, "protocol")
        services = [
            int64_column(translations, f"{end}_port") << 8 | protocol
            for end in ("service", "server")
        ]
        asked = combine(*client, *_pair(translations, "service_address"), services[0])
        endpoint = combine(*server, services[1])
        seen = combine(endpoint, *outer)
        changed = combine(*outer, *server, services[1]) != asked
        order = np.lexsort((seen, asked))
        order = order[changed[order]]
        repeated = np.zeros(len(order), np.bool_)
        repeated[1:] = (asked[order][1:] == asked[order][:-1]) & (
            seen[order][1:] == seen[order][:-1]
        )
        order = order[~repeated]
        return _Table(
            translations.take(order),
            asked[order],
            seen[order],
            endpoint[order],
            int64_column(translations, "translation_id")[order],
            int64_column(translations, "source")[order],
            _has_one_client(seen[order], combine(*client)[order]),
            (combine(*client) != combine(*outer))[order],
        )

    def options(self, asked: Int64) -> tuple[Int64, Int64]:
        """Return the first place and the number of translations of each key."""
        first = np.searchsorted(self.asked, asked, "left")
        return first, np.searchsorted(self.asked, asked, "right") - first

    def column(self, name: str) -> Int64:
        """Return a column widened to 64 bits."""
        return int64_column(self.table, name)


def _pair(table: pa.Table, name: str) -> tuple[Int64, Int64]:
    return int64_column(table, f"{name}_high"), int64_column(table, f"{name}_low")


def _has_one_client(seen: Int64, client: Int64) -> Bool:
    order = np.lexsort((client, seen))
    starts = np.ones(len(order), np.bool_)
    starts[1:] = seen[order][1:] != seen[order][:-1]
    other = np.zeros(len(order), np.bool_)
    other[1:] = ~starts[1:] & (client[order][1:] != client[order][:-1])
    groups = np.cumsum(starts) - 1
    shared = np.bincount(groups, other, groups[-1] + 1 if len(groups) else 0) > 0
    result = np.empty(len(order), np.bool_)
    result[order] = ~shared[groups]
    return result


def _see_from_outside(rows: Rows, table: _Table) -> Rows:
    """Set the outer address of rows that their own host has translated."""
    own = rows.int64("translation_id")
    known = np.flatnonzero(own)
    order = np.argsort(table.identity)
    place = np.searchsorted(table.identity, own[known], sorter=order)
    place = order[np.minimum(place, len(order) - 1)] if len(order) else place
    found = (
        table.identity[place] == own[known]
        if len(order)
        else np.zeros(len(known), np.bool_)
    )
    known, place = known[found], place[found]
    return _set(
        rows,
        known,
        {
            f"outer_address_{half}": table.column(f"outer_address_{half}")[place]
            for half in ("high", "low")
        },
    )


def _see_from_inside(rows: Rows, table: _Table) -> tuple[Rows, Int64]:
    """Let servers' rows name the client behind the address they saw, if it is one.

    Also returns the places of those where it may be several.
    """
    servers = np.flatnonzero(~rows.is_client & (rows.int64("translation_id") == 0))
    # What a host translated itself it has told of its own rows; the others are as seen.
    told = combine(table.seen, table.source)
    asked = combine(rows.keys.far[servers], rows.source[servers])
    servers = servers[~np.isin(asked, told)]
    hides = np.flatnonzero(table.hides)
    order = hides[np.argsort(table.seen[hides], kind="stable")]
    seen, far = table.seen[order], rows.keys.far[servers]
    first = np.searchsorted(seen, far, "left")
    count = np.searchsorted(seen, far, "right") - first
    servers, first, count = (of[count > 0] for of in (servers, first, count))
    place = order[first]
    one = table.lonely[place]
    known, place = servers[one], place[one]
    values = {
        f"{theirs}_address_{half}": table.column(f"{ours}_address_{half}")[place]
        for theirs, ours in (("remote", "client"), ("outer", "outer"))
        for half in ("high", "low")
    }
    only = count[one] == 1
    values["translation_id"] = np.where(only, table.identity[place], 0)
    return _set(rows, known, values), servers[~one]


def _asked(rows: Rows, chosen: Int64) -> Int64:
    """Return the key of what these clients' rows ask for, as it leaves their host."""
    ends = rows.addresses
    service = (rows.server_port << 8) | rows.int64("protocol")
    return combine(
        ends.client_high[chosen],
        ends.client_low[chosen],
        ends.server_high[chosen],
        ends.server_low[chosen],
        service[chosen],
    )


def _rewrite(
    rows: Rows, chosen: Int64, table: _Table, place: Int64, yields: bool = False
) -> Rows:
    """Let clients' rows name the server that these translations lead to."""
    if not len(chosen):
        return rows
    values = {
        f"{theirs}_address_{half}": table.column(f"{ours}_address_{half}")[place]
        for theirs, ours in (("remote", "server"), ("outer", "outer"))
        for half in ("high", "low")
    }
    values["remote_port"] = table.column("server_port")[place]
    values["translation_id"] = table.identity[place]
    if yields:
        values["yields"] = np.ones(len(chosen), np.int64)
    return _set(rows, chosen, values)


def _divide(
    rows: Rows, chosen: Int64, table: _Table, options: _Options, covered: Covered
) -> tuple[Rows, int]:
    """Deal with clients' rows that may mean several servers."""
    if not len(chosen):
        return rows, 0
    place, owner = options.flat()
    seen = np.isin(table.seen[place], rows.keys.far[~rows.is_client])
    # A host that translates for its own sockets knows each connection's server.
    foreign = table.source[place] != rows.source[chosen[owner]]
    certain = covered(table.endpoint[place]) & table.lonely[place] & foreign
    left_to_servers = options.every(certain)
    copied = seen.copy()
    best = _first_of_each(owner, seen, len(chosen))
    copied[best[left_to_servers]] = False
    shares = _no_volume(rows, chosen[owner[copied]])
    yielding = left_to_servers[owner[copied]]
    everyone = np.arange(len(shares))
    shares = _rewrite(shares, everyone, table, place[copied])
    shares = _set(shares, everyone, {"yields": yielding.astype(np.int64)})
    rows = _rewrite(
        rows, chosen[left_to_servers], table, place[best[left_to_servers]], yields=True
    )
    return concat_rows([rows, shares]), int((~left_to_servers).sum())


def _first_of_each(owner: Int64, preferred: Bool, count: int) -> Int64:
    """Return each owner's first option, a preferred one where there is one."""
    order = np.lexsort((~preferred, owner))
    return order[np.searchsorted(owner[order], np.arange(count))]


def _no_volume(rows: Rows, chosen: Int64) -> Rows:
    """Return copies of rows that say who, but not how much."""
    taken = rows.without_samples(chosen)
    edges = taken.edges
    for index, field in enumerate(edges.schema):
        if field.name not in _KEPT:
            zeros = pa.array(np.zeros(len(taken), field.type.to_pandas_dtype()))
            edges = edges.set_column(index, field, zeros)
    return Rows(edges, taken.samples, taken.source, taken.boot)


def _set(rows: Rows, chosen: Int64, values: dict[str, Int64]) -> Rows:
    """Return rows with other values in the chosen places."""
    edges = rows.edges
    for name, value in values.items():
        index = edges.schema.get_field_index(name)
        column = numpy_column(edges, name).copy()
        column[chosen] = value.astype(column.dtype)
        edges = edges.set_column(index, edges.schema.field(index), pa.array(column))
    return Rows(edges, rows.samples, rows.source, rows.boot)
