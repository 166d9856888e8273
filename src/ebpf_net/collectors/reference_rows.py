"""The rows of one reference table, and which of them the reducer has not heard yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ebpf_net.collectors.row_table import Row, RowTable, Table
from ebpf_net.schema import TABLES

MAX_TEXT_LENGTH = 4096
"""Of a text, in characters: the intake refuses a batch for one of 64 KiB."""
_BOUNDED = ("labels", "annotations")  # JSON, which cannot be cut, and has its own bound


class ReferenceRows:
    """Rows by key. Not thread-safe.

    Texts that are too long are cut; a row whose key is too long is left out.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self.cut = 0
        """Texts that were cut, and rows that were left out, for their length."""
        self._columns = TABLES[table][:-1]
        self._texts = [
            place
            for place, (name, kind) in enumerate(self._columns)
            if kind == "string" and name not in _BOUNDED
        ]
        self._rows: dict[str, Row] = {}
        self._changed: dict[str, None] = {}  # in the order of what is read
        self._removed: dict[str, Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def get(self, key: str) -> Row | None:
        """Return the row of a key."""
        return self._rows.get(key)

    def put(self, key: str, row: Row) -> None:
        """Take a row; one that is as before changes nothing."""
        before = self._rows.get(key)
        if before == row:
            return
        if len(key) > MAX_TEXT_LENGTH:
            self.cut += 1
            return
        row, cut = self._clip(row)
        if before == row:
            return
        self.cut += cut
        self._rows[key] = row
        self._changed[key] = None
        self._removed.pop(key, None)

    def remove(self, key: str) -> None:
        """End a row; the reducer hears of it with the next changes."""
        row = self._rows.pop(key, None)
        if row is not None:
            self._removed[key] = row
            self._changed.pop(key, None)

    def values(self) -> Iterator[Row]:
        """Yield all rows."""
        return iter(self._rows.values())

    def take_changes(self) -> Table | None:
        """Return what changed since the last call, or nothing."""
        if not self._changed and not self._removed:
            return None
        changed = [self._rows[key] for key in self._changed]
        table = self._to_columns([*changed, *self._removed.values()], len(changed))
        self.forget_changes()
        return table

    def forget_changes(self) -> None:
        """Take all changes as told, as by a snapshot."""
        self._changed = {}  # a cleared one keeps its memory
        self._removed = {}

    def tell_again(self, keys: Iterable[object]) -> None:
        """Take the rows of these keys as changed."""
        told = (str(key) for key in keys)
        self._changed |= dict.fromkeys(key for key in told if key in self._rows)

    def restate(self) -> None:
        """Take all rows as changed."""
        self._changed = dict.fromkeys(self._rows)

    def snapshot(self) -> Table:
        """Return all rows."""
        return self._to_columns(list(self._rows.values()), len(self._rows))

    def _clip(self, row: Row) -> tuple[Row, int]:
        """Return the row with all texts short enough, and how many were not."""
        long = [p for p in self._texts if len(str(row[p])) > MAX_TEXT_LENGTH]
        if not long:
            return row, 0
        values = list(row)
        for place in long:
            values[place] = str(row[place])[:MAX_TEXT_LENGTH]
        return tuple(values), len(long)

    def _to_columns(self, rows: Sequence[Row], kept: int) -> Table:
        return RowTable(self._columns, rows, kept)
