"""Which ends are in one zone: the one rule for all who ask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Codes = NDArray[np.int64]
"""A number for each text, the same for the same text; -1: it is empty."""


class Zones:
    """Which ends of a level are in one zone.

    By the id that all accounts share, else by name within what is known of provider and
    region.
    """

    def __init__(self, nodes: pa.Table) -> None:
        self._name = text_codes(nodes.column("availability_zone"))
        self._id = text_codes(nodes.column("cloud.zone.id"))
        around = (text_codes(nodes.column(one)) for one in ("cloud.provider", "region"))
        self._around = [codes for codes in around if (codes >= 0).any()]

    def compare(
        self, source: NDArray[np.int32], dest: NDArray[np.int32]
    ) -> NDArray[np.int8]:
        """Return 0 where a zone is unknown, 1 where they differ, else 2."""
        one, other = self._name[source], self._name[dest]
        known, equal = (one >= 0) & (other >= 0), one == other
        for codes in self._around:
            one, other = codes[source], codes[dest]
            equal &= (one == other) | (one < 0) | (other < 0)
        if (self._id >= 0).any():
            one, other = self._id[source], self._id[dest]
            equal = np.where((one >= 0) & (other >= 0), one == other, equal)
        return np.where(known, 1 + equal, 0).astype(np.int8)


def text_codes(texts: Any) -> Codes:
    """Return the codes of a column of texts."""
    codes, values = distinct_texts(texts)
    if not len(codes):
        return codes
    empty: Any = pc.equal(values, pa.scalar(""))
    return np.where(empty.to_numpy(zero_copy_only=False)[codes], -1, codes)


def distinct_texts(texts: Any) -> tuple[Codes, Any]:
    """Return a number for each text, and the texts by it."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    dictionary: Any = pc.dictionary_encode(texts)
    return dictionary.indices.to_numpy().astype(np.int64), dictionary.dictionary
