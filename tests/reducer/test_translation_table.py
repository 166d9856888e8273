from __future__ import annotations

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.translation_table import Passages, Steps, Tellers
from ebpf_net.reducer.watched import Watched
from ebpf_net.testing.tables import make_table, translation_row

A, B, C, D = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"


def passages_of(*rows: dict) -> Passages:
    table = make_table("translations", rows)
    zeros = np.zeros(len(rows), np.int64)
    table = table.append_column("source", pa.array(zeros))
    return Passages.of(Steps.of(table, Tellers(zeros), Watched()))


def test_steps_that_share_a_key_are_one_passage():
    passages = passages_of(
        translation_row(A, (B, 80), C, (D, 80)),
        translation_row(C, (D, 80), C, (B, 81)),
        translation_row(A, (B, 90), A, (D, 90)),
    )
    assert len(set(passages.part.tolist())) == 2
    assert passages.size == 5


def test_repetitions_and_what_changes_nothing_are_no_steps():
    row = translation_row(A, (B, 80), C, (D, 80))
    passages = passages_of(row, row, translation_row(A, (B, 80), A, (B, 80)))
    assert len(passages.start) == 1


def test_a_long_way_and_a_circle_are_one_passage():
    ports = range(80, 120)
    steps = [translation_row(A, (B, port), A, (B, port + 1)) for port in ports]
    circle = translation_row(A, (B, 120), A, (B, 80))
    assert len(set(passages_of(*steps, circle).part.tolist())) == 1
