"""Tables to be sent: columns by name, or rows that become columns when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

NumericColumn = npt.NDArray[Any]
Table = Mapping[str, NumericColumn | Sequence[str]]

Row = tuple[str | int | bool, ...]
"""Values in the order of the schema, without ``removed``; the first is the key."""

_REMOVED = "removed"


class RowTable(Mapping[str, NumericColumn | Sequence[str]]):
    """Rows as columns, each of which is made whenever it is asked for.

    So what is told of many rows needs the memory of one column after the other. Rows
    from ``kept`` on are of what was removed.
    """

    def __init__(
        self, columns: Sequence[tuple[str, str]], rows: Sequence[Row], kept: int
    ) -> None:
        self._columns = columns
        self._places = {name: place for place, (name, _) in enumerate(columns)}
        self._rows = rows
        self._kept = kept

    def __getitem__(self, name: str) -> NumericColumn | Sequence[str]:
        if name == _REMOVED:
            return np.arange(len(self._rows)) >= self._kept
        place = self._places[name]
        kind = self._columns[place][1]
        values = (row[place] for row in self._rows)
        if kind == "string":
            return [str(value) for value in values]
        return np.fromiter(values, np.dtype(kind), len(self._rows))

    def __iter__(self) -> Iterator[str]:
        yield from self._places
        yield _REMOVED

    def __len__(self) -> int:
        return len(self._places) + 1

    def part(self, first: int, last: int) -> RowTable:
        """Return the rows from the first one to before the last one."""
        return RowTable(self._columns, self._rows[first:last], self._kept - first)


def slice_table(table: Table, first: int, last: int) -> Table:
    """Return a table's rows from the first one to before the last one."""
    if isinstance(table, RowTable):
        return table.part(first, last)
    return {name: column[first:last] for name, column in table.items()}
