"""The reference tables as they are now: what each source told of its host or cluster.

A table is replaced as a whole when changes come, never row by row. A row that has ended
is kept for some windows, because edges of the time before may still come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.keys import Bool, Int64, combine, text_key
from ebpf_net.reducer.lookups import Lookup, is_blank, text_codes
from ebpf_net.reducer.rows import arrow_schema, int64_column, numpy_column
from ebpf_net.schema import REFERENCE_KEYS, REFERENCES, TABLES, Scope, tables_of

KEEP_WINDOWS = 6
"""How many windows a row is kept after its end."""

_OF_PROCESSES = tuple(
    name for name in tables_of(Scope.HOST) if name != Scope.HOST.value
)
"""Tables that a host's new collector process tells anew."""
_TOLD_IN_TURN = tuple(scope for scope in Scope if scope is not Scope.HOST)
"""Scopes of which one source after the other may tell; a host has one of its own."""

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Change:
    """Reference tables of one batch; a snapshot replaces all rows of its source."""

    source: int
    tables: Mapping[str, pa.Table]
    snapshot: bool


class References:
    """All reference rows, with the source they are from.

    ``tables`` have the columns of the schema without ``removed``, and ``source``.
    """

    def __init__(self) -> None:
        self._tables = {name: _schema(name).empty_table() for name in REFERENCE_KEYS}
        self._boots: tuple[pa.Table | None, dict[int, int]] = (None, {})

    @property
    def tables(self) -> Mapping[str, pa.Table]:
        """The rows to join with; ``expires`` is of no meaning to the reader."""
        return self._tables

    def apply(self, changes: Iterable[Change], window: int) -> None:
        """Take changes in their order; what they end is kept until later windows."""
        changes = list(changes)
        for name in REFERENCE_KEYS:
            self._apply(name, changes, window)
        for scope in _TOLD_IN_TURN:
            self._expire_former_holders(scope, window)

    def forget(self, window: int, gone: frozenset[int]) -> None:
        """Drop rows that ended long before the window, and those of gone sources."""
        for name, table in self._tables.items():
            keep = int64_column(table, "expires") >= window
            if gone:
                sources = np.fromiter(gone, np.int64, len(gone))
                keep &= ~np.isin(numpy_column(table, "source"), sources)
            if not keep.all():
                self._tables[name] = table.filter(pa.array(keep))

    def boots(self) -> dict[int, int]:
        """Return the key of the boot id of each source's host."""
        table = self._tables["hosts"]
        if self._boots[0] is not table:
            self._boots = table, _boots(table)
        return self._boots[1]

    def end(self, sources: Collection[int], window: int) -> None:
        """End what these sources told of their hosts; it is kept until later windows.

        ``hosts`` stays, for whose rows come even later.
        """
        ended = np.fromiter(sources, np.int64, len(sources))
        for name in _OF_PROCESSES if len(ended) else ():
            table = self._tables[name]
            gone = np.isin(numpy_column(table, "source"), ended)
            self._tables[name] = _set_expiry(table, gone, window)

    def restore(self, tables: Mapping[str, pa.Table]) -> None:
        """Take tables as they were given by ``tables``, of another version perhaps.

        What that did not know is blank until collectors tell it.
        """
        self._tables = {
            name: _conform(name, tables[name]) if name in tables else own
            for name, own in self._tables.items()
        }

    def _apply(self, name: str, changes: list[Change], window: int) -> None:
        parts, removed = [self._tables[name]], [np.zeros(len(self._tables[name]), bool)]
        for change in changes:
            if change.snapshot:
                parts = [_expire_source(part, change.source, window) for part in parts]
            table = change.tables.get(name)
            if table is not None and table.num_rows:
                parts.append(_with_source(name, table, change.source))
                removed.append(numpy_column(table, "removed").astype(bool))
        if len(parts) == 1:
            self._tables[name] = parts[0]
            return
        self._tables[name] = _latest(
            name, pa.concat_tables(parts), np.concatenate(removed), window
        )

    def _expire_former_holders(self, scope: Scope, window: int) -> None:
        """End what other sources told of a cluster before the last one named it.

        Only the last one sees what goes. It is the one whose row came last.
        """
        named = self._tables[scope.value]
        sources = int64_column(named, "source")
        if len(np.unique(sources)) < 2:
            return
        key = named[REFERENCE_KEYS[scope.value]]
        is_last = _last_of_each(text_codes(key)[0])
        former = np.setdiff1d(sources, sources[is_last])
        if not len(former):
            return
        for name in tables_of(scope):
            table = self._tables[name]
            gone = np.isin(numpy_column(table, "source"), former)
            self._tables[name] = _set_expiry(table, gone, window)


def _boots(hosts: pa.Table) -> dict[int, int]:
    return {
        int(source): text_key("boot", str(boot_id))
        for source, boot_id in zip(
            int64_column(hosts, "source"), hosts["boot_id"].to_pylist(), strict=True
        )
        if boot_id
    }


def _conform(name: str, table: pa.Table) -> pa.Table:
    """Return a table with the columns of this version, blank where it has none."""
    schema = _schema(name)
    if table.schema.equals(schema):
        return table
    needed = [schema.field(one) for one in ("source", REFERENCE_KEYS[name], "expires")]
    if any(not _has(table, field) for field in needed):
        return schema.empty_table()
    columns = [
        table[field.name] if _has(table, field) else _blank(field, len(table))
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _has(table: pa.Table, field: pa.Field[Any]) -> bool:
    return field.name in table.column_names and table.schema.field(field.name) == field


def _blank(field: pa.Field[Any], count: int) -> pa.Array[Any]:
    blank = pa.scalar("" if pa.types.is_string(field.type) else 0).cast(field.type)
    blanks: pa.Array[Any] = pa.repeat(blank, count)
    return blanks


def _schema(name: str) -> pa.Schema:
    columns = [column for column in TABLES[name] if column[0] != "removed"]
    return arrow_schema((("source", "int64"), *columns, ("expires", "int64")))


def _with_source(name: str, table: pa.Table, source: int) -> pa.Table:
    count = table.num_rows
    columns = {
        "source": np.full(count, source, np.int64),
        **{key: table.column(key) for key, _ in TABLES[name] if key != "removed"},
        "expires": np.full(count, _NEVER, np.int64),
    }
    return pa.table(columns, schema=_schema(name))


def _keys(name: str, table: pa.Table) -> Int64:
    source = int64_column(table, "source")
    if name == "hosts":  # one host a source, whatever its name becomes
        return source
    column = table.column(REFERENCE_KEYS[name])
    if pa.types.is_string(column.type):
        return combine(source, text_codes(column)[0])
    return combine(source, int64_column(table, REFERENCE_KEYS[name]))


def _latest(name: str, table: pa.Table, removed: Bool, window: int) -> pa.Table:
    keys = _keys(name, table)
    if REFERENCES[name].is_timed:
        table = _with_ends(table, keys, removed)
    known = np.flatnonzero(~removed | _is_all_there_is(name, table, keys, removed))
    rows = known[_last_of_each(keys[known])]
    last = np.flatnonzero(_last_of_each(keys))
    ended = keys[last[removed[last]]]
    return _set_expiry(
        table.take(rows), np.isin(keys[rows], ended), window
    ).combine_chunks()


def _is_all_there_is(name: str, table: pa.Table, keys: Int64, removed: Bool) -> Bool:
    """Tell which removed rows are of something that began and ended at once.

    There was no row of it before, and this one says more than that it has gone.
    """
    column = REFERENCES[name].telling
    if not column or not removed.any():
        return np.zeros(len(keys), np.bool_)
    telling = ~is_blank(table[column])
    return removed & telling & ~np.isin(keys, keys[~removed])


def _with_ends(table: pa.Table, keys: Int64, removed: Bool) -> pa.Table:
    """Let rows that a later one removes end when that one says."""
    last = np.flatnonzero(_last_of_each(keys))
    last = last[removed[last]]
    if not len(last):
        return table
    until = int64_column(table, "until_ns").copy()
    row = Lookup(keys[last], last).find(keys)
    ended = row >= 0
    until[ended] = until[row[ended]]
    place = table.schema.get_field_index("until_ns")
    return table.set_column(place, table.schema.field(place), pa.array(until))


def _last_of_each(keys: Int64) -> Bool:
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    last = np.ones(len(keys), np.bool_)
    last[:-1] = in_order[1:] != in_order[:-1]
    chosen = np.zeros(len(keys), np.bool_)
    chosen[order[last]] = True
    return chosen


def _expire_source(table: pa.Table, source: int, window: int) -> pa.Table:
    return _set_expiry(table, numpy_column(table, "source") == source, window)


def _set_expiry(table: pa.Table, gone: Bool, window: int) -> pa.Table:
    expires = int64_column(table, "expires")
    gone = gone & (expires > window + KEEP_WINDOWS)
    if not gone.any():
        return table
    soon = np.where(gone, window + KEEP_WINDOWS, expires)
    place = table.schema.get_field_index("expires")
    return table.set_column(place, table.schema.field("expires"), pa.array(soon))
