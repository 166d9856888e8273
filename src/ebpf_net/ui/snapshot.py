"""A window as the table keeps it: its pairs, their names, and the rows to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ebpf_net.schema import Protocol, Window
from ebpf_net.ui.columns import sorted_rows
from ebpf_net.ui.directions import Directions
from ebpf_net.ui.ends import EndNames, end_names
from ebpf_net.ui.pairs import Bool, Int64, Pairs, join_directions
from ebpf_net.ui.text_columns import TextColumn, contains, lower

LEVEL = "id_id"


@dataclass(frozen=True)
class Snapshot:
    """One window, which may have come in several parts."""

    start_ns: int
    end_ns: int
    pairs: Pairs

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.end_ns - self.start_ns) / 1e9

    @cached_property
    def names(self) -> EndNames:
        """Names of the rows of ``pairs.nodes``."""
        return end_names(self.pairs.nodes)

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of all pairs."""
        return int(self.pairs.bytes.sum())

    def select(self, order: str, text: str) -> Int64:
        """Return the pairs that match a filter, in an order, as row numbers."""
        rows = sorted_rows(self.pairs, order)
        return rows[self._matches(text)[rows]] if text.strip() else rows

    def _matches(self, text: str) -> Bool:
        """Every word must be in one of the ends or be the protocol; ``!`` negates."""
        matches = np.ones(len(self.pairs), np.bool_)
        names = lower(self.names.full())
        for word in text.lower().split():
            negated = word.startswith("!") and len(word) > 1
            wanted = word[1:] if negated else word
            found = self._has(wanted, names)
            matches &= ~found if negated else found
        return matches

    def _has(self, word: str, names: TextColumn) -> Bool:
        in_name = contains(names, word)
        protocols = [int(item) for item in Protocol if item.name.lower() == word]
        found: Bool = (
            in_name[self.pairs.left]
            | in_name[self.pairs.right]
            | np.isin(self.pairs.protocol, protocols)
        )
        return found


def take_snapshot(windows: Sequence[Window], directions: Directions) -> Snapshot:
    """Join the parts of one window; all have level id_id and the same times."""
    pairs = join_directions([window.levels[LEVEL] for window in windows])
    return Snapshot(windows[0].start_ns, windows[0].end_ns, directions.apply(pairs))
