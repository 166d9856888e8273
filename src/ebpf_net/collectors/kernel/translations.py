"""The reference table of translations: those in use, and changes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.addresses import address_halves
from ebpf_net.collectors.kernel.conntrack import TRANSLATION, Translations

Table = dict[str, npt.NDArray[Any] | Sequence[str]]
Int64s = npt.NDArray[np.int64]

FORGET_AFTER_WINDOWS = 30  # batches that are resent may still speak of it
_ADDRESSES = ("client", "service", "outer", "server")


class TranslationTable:
    """Rows by id, at most ``limit``; kept as arrays, since a gateway has many."""

    def __init__(
        self, limit: int, forget_after_windows: int = FORGET_AFTER_WINDOWS
    ) -> None:
        self._limit = limit
        self._forget_after_windows = forget_after_windows
        self._rows = np.empty(0, TRANSLATION)  # by id
        self._last_seen = np.empty(0, np.int64)
        self._added: list[Translations] = []
        self._removed: list[Translations] = []
        self._window = 0
        self.left_out = 0
        """Translations that found no room, each time they were told."""

    def __len__(self) -> int:
        return int(self._rows.size)

    def observe(self, translations: Translations) -> npt.NDArray[np.bool_]:
        """Take note of translations in use, but for id 0; return which have a row."""
        ids = translations["translation_id"]
        distinct, first = np.unique(ids, return_index=True)
        if distinct.size and not distinct[0]:
            distinct, first = distinct[1:], first[1:]
        places, known = self._find(distinct)
        self._last_seen[places[known]] = self._window
        new = np.flatnonzero(~known)
        room = max(0, self._limit - len(self))
        self.left_out += max(0, new.size - room)
        new = new[:room]
        if new.size:
            self._insert(places[new], translations[first[new]])
        if new.size == np.count_nonzero(~known):
            has_row: npt.NDArray[np.bool_] = ids != 0
            return has_row
        return self._find(ids)[1]

    def sweep(self, in_use: Int64s) -> None:
        """End a window: forget what nobody has spoken of for some windows."""
        self._window += 1
        places, known = self._find(in_use)
        self._last_seen[places[known]] = self._window
        old = self._last_seen <= self._window - self._forget_after_windows
        if old.any():
            self._removed.append(self._rows[old])
            self._rows, self._last_seen = self._rows[~old], self._last_seen[~old]

    def take_changes(self) -> Table:
        """Return the rows that changed since the last call."""
        added = np.concatenate([self._rows[:0], *self._added])
        removed = np.concatenate([self._rows[:0], *self._removed])
        self._added, self._removed = [], []
        are_removed = np.repeat([False, True], [added.size, removed.size])
        return _columns(np.concatenate([added, removed]), are_removed)

    def snapshot(self) -> Table:
        """Return all rows."""
        return _columns(self._rows, np.zeros(len(self), np.bool_))

    def _find(self, ids: Int64s) -> tuple[Int64s, npt.NDArray[np.bool_]]:
        """Return where ids are, or would be, and whether they are there."""
        known_ids = self._rows["translation_id"]
        places = np.searchsorted(known_ids, ids)
        known = np.zeros(ids.size, np.bool_)
        inside = places < known_ids.size
        known[inside] = known_ids[places[inside]] == ids[inside]
        return places, known

    def _insert(self, places: Int64s, rows: Translations) -> None:
        self._rows = np.insert(self._rows, places, rows)
        self._last_seen = np.insert(self._last_seen, places, self._window)
        self._added.append(rows)


def _columns(rows: Translations, removed: npt.NDArray[np.bool_]) -> Table:
    table: Table = {"translation_id": rows["translation_id"].astype(np.int64)}
    for name in _ADDRESSES:
        high, low = address_halves(rows[name])
        table |= {f"{name}_address_high": high, f"{name}_address_low": low}
    for name in ("service_port", "server_port"):
        table[name] = rows[name].astype(np.int32)
    table["protocol"] = rows["protocol"].astype(np.int8)
    table["removed"] = removed
    return table
