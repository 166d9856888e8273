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
from ebpf_net.reducer.lookups import only_one
from ebpf_net.reducer.memory import find
from ebpf_net.reducer.rows import Rows, concat_rows, numpy_column
from ebpf_net.reducer.translation_table import TranslationTable

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


def translate(
    rows: Rows, table: TranslationTable, collector: Int64, covered: Covered
) -> Translated:
    """Give each row the addresses that the other end knows the connection by.

    ``collector`` is who told of each row, whichever process of it.
    """
    if not len(table) or not len(rows):
        return Translated(rows)
    rows = _see_from_outside(rows, table)
    is_private = _is_private(rows)
    rows, hidden = _see_from_inside(rows, table, collector, is_private)
    clients = np.flatnonzero(rows.is_client)
    first, count = table.options(_asked(rows, clients, is_private))
    only = count == 1
    rows = _rewrite(rows, clients[only], table, table.place[first[only]])
    several = count > 1
    options = _Options(first[several], count[several])
    rows, unresolved = _divide(
        rows, clients[several], table, options, collector[clients[several]], covered
    )
    hidden = hidden[~np.isin(rows.keys.far[hidden], rows.keys.far[rows.is_client])]
    return Translated(rows, unresolved + len(hidden))


def _is_private(rows: Rows) -> Bool:
    """Tell which rows' own address is one that other hosts have, too.

    As those of docker's bridges. Only what its own host tells is of such an address.
    """
    own = combine(
        rows.int64("local_address_high"),
        rows.int64("local_address_low"),
        rows.int64("scope"),
    )
    return ~only_one(own, rows.boot)


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


def _see_from_outside(rows: Rows, table: TranslationTable) -> Rows:
    """Set the outer address of rows that their own host has translated."""
    own = rows.int64("translation_id")
    known = np.flatnonzero(own)
    place = table.by_identity.find(own[known])
    known, place = known[place >= 0], place[place >= 0]
    return _set(
        rows,
        known,
        {
            f"outer_address_{half}": table.column(f"outer_address_{half}")[place]
            for half in ("high", "low")
        },
    )


def _see_from_inside(
    rows: Rows, table: TranslationTable, collector: Int64, is_private: Bool
) -> tuple[Rows, Int64]:
    """Let servers' rows name the client behind the address they saw, if it is one.

    Also returns the places of those where it may be several.
    """
    is_server = ~rows.is_client & ~is_private
    servers = np.flatnonzero(is_server & (rows.int64("translation_id") == 0))
    # What a host translated itself it has told of its own rows; the others are as seen.
    seen = combine(rows.keys.far[servers], collector[servers])
    servers = servers[find(table.told, seen) < 0]
    seen, far = table.seen[table.hiding], rows.keys.far[servers]
    first = np.searchsorted(seen, far, "left")
    count = np.searchsorted(seen, far, "right") - first
    servers, first, count = (of[count > 0] for of in (servers, first, count))
    place = table.hiding[first]
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


def _asked(rows: Rows, chosen: Int64, is_private: Bool) -> Int64:
    """Return the key of what these clients' rows ask for, as it leaves their host.

    An outer address is not private any more.
    """
    ends = rows.addresses
    service = (rows.server_port << 8) | rows.int64("protocol")
    asked = combine(
        ends.client_high[chosen],
        ends.client_low[chosen],
        ends.server_high[chosen],
        ends.server_low[chosen],
        service[chosen],
    )
    asked ^= rows.int64("scope")[chosen]
    outer = rows.int64("outer_address_high") | rows.int64("outer_address_low")
    at_host = (is_private & (outer == 0))[chosen]
    return np.where(at_host, combine(asked, rows.boot[chosen]), asked)


def _rewrite(
    rows: Rows,
    chosen: Int64,
    table: TranslationTable,
    place: Int64,
    yields: bool = False,
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
    values["scope"] = table.scope[place]
    if yields:
        values["yields"] = np.ones(len(chosen), np.int64)
    return _set(rows, chosen, values)


def _divide(
    rows: Rows,
    chosen: Int64,
    table: TranslationTable,
    options: _Options,
    collector: Int64,
    covered: Covered,
) -> tuple[Rows, int]:
    """Deal with clients' rows that may mean several servers."""
    if not len(chosen):
        return rows, 0
    places, owner = options.flat()
    place = table.place[places]
    seen = np.isin(table.seen[place], rows.keys.far[~rows.is_client])
    # A host that translates for its own sockets knows each connection's server.
    own = combine(table.seen[place], collector[owner])
    foreign = find(table.told, own) < 0
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
