"""The rows of all tables that one collector tells of, as tables for its batches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ebpf_net.collectors.reference_rows import ReferenceRows
from ebpf_net.collectors.row_table import Table


class ReferenceTables:
    """Rows by table and key. Not thread-safe."""

    def __init__(self, names: Iterable[str]) -> None:
        self._rows = {name: ReferenceRows(name) for name in names}

    def __getitem__(self, name: str) -> ReferenceRows:
        return self._rows[name]

    @property
    def cut(self) -> int:
        """How many texts were cut, or rows left out, for their length."""
        return sum(rows.cut for rows in self._rows.values())

    def counts(self) -> dict[str, int]:
        """Return how many rows each table has."""
        return {name: len(rows) for name, rows in self._rows.items()}

    def changes(self) -> dict[str, Table]:
        """Return what changed since the last call."""
        found = {name: rows.take_changes() for name, rows in self._rows.items()}
        return {name: table for name, table in found.items() if table is not None}

    def snapshot(self) -> dict[str, Table]:
        """Return all rows."""
        return {name: rows.snapshot() for name, rows in self._rows.items()}

    def tell_again(self, parts: Iterable[Mapping[str, Table]]) -> None:
        """Take these rows as changed, because a snapshot had no room for them."""
        for part in parts:
            for name, table in part.items():
                self._rows[name].tell_again(next(iter(table.values())))

    def restate(self, left_out: Collection[str] = ()) -> None:
        """Take all rows as changed, but those of some tables."""
        for name, rows in self._rows.items():
            if name not in left_out:
                rows.restate()

    def forget_changes(self) -> None:
        """Take all there is as told, because a snapshot will tell it."""
        for rows in self._rows.values():
            rows.forget_changes()
