from __future__ import annotations

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.lookups import Lookup
from ebpf_net.reducer.translation_table import SortedTranslations, Tellers
from ebpf_net.testing.tables import make_table, translation_row

BALANCED = [
    translation_row("10.0.0.1", ("10.96.0.1", 80), "10.0.0.1", (server, 8080))
    for server in ("10.1.0.1", "10.1.0.2")
]


def told() -> pa.Table:
    table = make_table("translations", BALANCED)
    return table.append_column("source", pa.array(np.ones(2, np.int64)))


def test_translations_are_sorted_anew_only_when_something_changes():
    translations = told()
    other = told()
    shared = Lookup(np.empty(0, np.int64))

    def tellers(boot: int, among: Lookup = shared) -> Tellers:
        return Tellers(np.full(2, boot), np.ones(2), np.zeros(2, np.int64), among)

    kept = SortedTranslations()
    first = kept.sort(translations, tellers(1))
    assert kept.sort(translations, tellers(1)) is first
    for table, of in (
        (other, tellers(1)),
        (other, tellers(2)),
        (other, tellers(2, Lookup(np.empty(0, np.int64)))),
    ):
        again = kept.sort(table, of)
        assert again is not first
        first = again
