from __future__ import annotations

import numpy as np
import pytest

from ebpf_net.reducer.keys import combine, text_key
from ebpf_net.reducer.rows import make_rows
from ebpf_net.reducer.watched import Watched
from ebpf_net.testing.tables import client_row, make_table, server_row, split_address

A, B = text_key("a"), text_key("b")
NO_SAMPLES = make_table("edge_samples", [])


def addresses(*texts: str):
    halves = np.array([split_address(text) for text in texts], np.int64)
    return combine(halves[:, 0].copy(), halves[:, 1].copy())


def note(watched: Watched, window: int, host: int, *rows: dict) -> None:
    table = make_rows(make_table("edges", rows), NO_SAMPLES, host, host)
    watched.note(table, table.source, window, frozenset({A}))


def test_addresses_of_rows_are_watched_while_their_host_reports():
    watched = Watched()
    note(watched, 1, A, client_row("10.0.0.1", "10.0.0.9", 80))
    note(watched, 1, B, server_row("10.0.0.9", "10.0.0.2", 80))
    asked = addresses("10.0.0.1", "10.0.0.2", "10.0.0.9")
    assert watched.anywhere(asked).tolist() == [True, False, False]
    on_b = watched.on_host(asked, np.full(3, B))
    assert on_b.tolist() == [False, True, False]


def test_an_address_is_forgotten_long_after_its_last_row():
    watched = Watched()
    row = client_row("10.0.0.1", "10.0.0.9", 80)
    note(watched, 1, A, row)
    note(watched, 300, A, client_row("10.0.0.3", "10.0.0.9", 80))
    assert watched.anywhere(addresses("10.0.0.1")).all()
    note(watched, 500, A, client_row("10.0.0.3", "10.0.0.9", 80))
    assert not watched.anywhere(addresses("10.0.0.1")).any()


def test_addresses_come_back_from_arrays():
    watched, again = Watched(), Watched()
    note(watched, 1, A, client_row("10.0.0.1", "10.0.0.9", 80))
    again.from_arrays(watched.to_arrays())
    assert len(again) == 1
    asked = addresses("10.0.0.1", "10.0.0.2")
    assert again.on_host(asked, np.full(2, A)).tolist() == [True, False]


def test_arrays_that_do_not_go_together_are_refused():
    arrays = {**Watched().to_arrays(), "host": np.array([A])}
    with pytest.raises(ValueError, match="without their hosts"):
        Watched().from_arrays(arrays)
