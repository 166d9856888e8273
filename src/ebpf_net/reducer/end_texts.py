"""Texts of ends: what is read of the rows that were found, and choices among them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.reducer.addresses import address_texts
from ebpf_net.reducer.ends import ORIGINS, READS, About
from ebpf_net.reducer.keys import Bool, Int64
from ebpf_net.reducer.lookups import pick

Texts = pa.StringArray


class EndTexts:
    """Texts of ends: columns of the rows that were found, "" where there is none."""

    def __init__(
        self, found: Mapping[str, Int64], tables: Mapping[str, pa.Table]
    ) -> None:
        self._found, self._tables = found, tables
        self._count = len(found["about"])
        self._kept: dict[str, Texts] = {}
        self._constant: dict[str, Texts] = {}
        self._present = {
            name for name in READS if name in found and (found[name] >= 0).any()
        }
        self.covered: Bool = found["about"] == About.COVERED
        self.on_host = self.is_about(About.COVERED, About.METADATA, About.LOCALHOST)

    def __getitem__(self, name: str) -> Texts:
        if name not in self._kept:
            self._kept[name] = self._take(name)
        return self._kept[name]

    def has(self, name: str) -> Bool:
        """Tell which ends have a row of this kind."""
        if not self.has_any(name):
            return np.zeros(self._count, np.bool_)
        known: Bool = self._found[name] >= 0
        return known

    def has_any(self, *names: str) -> bool:
        """Tell whether any end has a row of one of these kinds."""
        return not self._present.isdisjoint(names)

    def is_about(self, *what: About) -> Bool:
        """Tell of which ends this is known."""
        known: Bool = np.isin(self._found["about"], what)
        return known

    def flag(self, name: str) -> Bool:
        """Return a column of truth values, false where there is no row."""
        row, column = self._column(name)
        if not self.has_any(row):
            return np.zeros(self._count, np.bool_)
        values = column.to_numpy().astype(np.int64)
        true: Bool = pick(values, self._found[row], 0) == 1
        return true

    def is_told(self, *names: str) -> Bool:
        """Tell which ends have a text in one of these columns."""
        told = np.zeros(self._count, np.bool_)
        for name in names:
            told |= _lengths(self[name]) > 0
        return told

    def equal(self, name: str, text: str) -> Bool:
        """Tell which ends have just this text."""
        equal: Any = pc.equal(self[name], _text(text))
        same: Bool = equal.to_numpy(zero_copy_only=False)
        return same

    def same(self, name: str, other: str) -> Bool:
        """Tell which ends have the same text in both columns."""
        same: Any = pc.equal(self[name], self[other])
        equal: Bool = same.to_numpy(zero_copy_only=False)
        return equal

    def first(self, *names: str, otherwise: str = "") -> Texts:
        """Return the first of these columns that is not empty."""
        choices = [
            (_lengths(self[name]) > 0, self[name])
            for name in names
            if self.has_any(ORIGINS[name][0])
        ]
        return self.choose(*choices, otherwise=otherwise)

    def choose(
        self, *choices: tuple[Bool, Texts | str], otherwise: Texts | str = ""
    ) -> Texts:
        """Return for each end the text of the first choice that is true."""
        last = self.all(otherwise) if isinstance(otherwise, str) else otherwise
        useful = [(mask, value) for mask, value in choices if mask.any()]
        if not useful:
            return last
        masks = pa.StructArray.from_arrays(
            [pa.array(mask) for mask, _ in useful],
            [str(place) for place in range(len(useful))],
        )
        values = [value for _, value in useful]
        chosen: Texts = pc.case_when(masks, *values, last)
        return chosen

    def all(self, text: str) -> Texts:
        """Return the same text for all ends."""
        if text not in self._constant:
            self._constant[text] = pa.repeat(_text(text), self._count)
        return self._constant[text]

    def addresses(self) -> Texts:
        """Return the addresses as text."""
        return address_texts(self._found["high"], self._found["low"])

    def _column(self, name: str) -> tuple[str, Any]:
        row, column = ORIGINS[name]
        return row, self._tables[READS[row].table].column(column)

    def _take(self, name: str) -> Texts:
        row, column = self._column(name)
        if not self.has_any(row):
            return self.all("")
        rows = self._found[row]
        missing = rows < 0
        if len(column.chunks) != 1:
            column = pa.chunked_array([column.combine_chunks()])
        taken: Any = column.chunk(0).take(pa.array(np.maximum(rows, 0)))
        if missing.any():
            taken = pc.if_else(pa.array(missing), _text(""), taken)
        texts: Texts = taken
        return texts


@cache
def _text(text: str) -> pa.StringScalar:
    """Return one of the constants of this module; to make one takes a while."""
    return pa.scalar(text)


def _lengths(texts: Texts) -> Int64:
    return pc.binary_length(texts).to_numpy().astype(np.int64)
