"""Parts of large tables that the intake takes, each as one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.row_table import Table, slice_table

MAX_PART_BYTES = 24 << 20
"""The intake takes 64 MiB, and 16 MiB of what is left by compression."""


def split_tables(
    tables: Mapping[str, Table], max_bytes: int = MAX_PART_BYTES
) -> Iterator[dict[str, Table]]:
    """Yield parts of at most so many bytes; of tables without rows there is none."""
    part: dict[str, Table] = {}
    left = max_bytes
    for name, table in tables.items():
        ends = np.cumsum(_row_bytes(table))
        first, told = 0, 0
        while first < len(ends):
            last = int(np.searchsorted(ends, told + left, "right"))
            last = max(last, first + (not part))  # a row that is larger goes alone
            if last > first:
                part[name] = slice_table(table, first, last)
                left -= int(ends[last - 1]) - told
                first, told = last, int(ends[last - 1])
            if first < len(ends):
                yield part
                part, left = {}, max_bytes
    if part:
        yield part


def _row_bytes(table: Table) -> npt.NDArray[np.int64]:
    """Return how many bytes each row has."""
    sizes = np.zeros(len(next(iter(table.values()))), np.int64)
    for column in table.values():
        if isinstance(column, np.ndarray):
            sizes += column.itemsize
        else:
            sizes += np.fromiter(map(_text_bytes, column), np.int64, len(column)) + 4
    return sizes


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
