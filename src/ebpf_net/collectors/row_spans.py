"""From when until when a row holds: of tables with ``from_ns`` and ``until_ns``."""

from __future__ import annotations

from ebpf_net.collectors.row_table import Row
from ebpf_net.schema import TABLES


class RowSpans:
    """Reads and sets the beginnings and ends of the rows of one table."""

    def __init__(self, table: str) -> None:
        names = [name for name, _ in TABLES[table]]
        self._from, self._until = names.index("from_ns"), names.index("until_ns")

    def with_start(
        self, row: Row, before: Row | None, now_ns: int, *, moved: bool
    ) -> Row:
        """Return the row with the start that was told before.

        What ended and is back, or that another row gave way to, is from now on.
        """
        if before is not None and not before[self._until]:
            from_ns = before[self._from]
        elif before is not None or moved:
            from_ns = now_ns
        else:
            return row
        return (*row[: self._from], from_ns, *row[self._from + 1 :])

    def with_end(self, row: Row, until_ns: int) -> Row:
        """Return the row with an end; the first one told stays."""
        if row[self._until]:
            return row
        until_ns = max(until_ns, int(row[self._from]) + 1)
        return (*row[: self._until], until_ns, *row[self._until + 1 :])

    def has_ended(self, row: Row) -> bool:
        """Whether the row no longer holds."""
        return bool(row[self._until])
