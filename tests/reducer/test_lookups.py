from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.reducer.lookups import (
    Lookup,
    codes_among,
    is_blank,
    nobody,
    only_one,
    pick,
    same_rows,
    text_codes,
)


def texts(*values: str) -> pa.ChunkedArray:
    return pa.chunked_array([list(values)], pa.string())


def test_first_row_of_a_key_counts():
    lookup = Lookup(np.array([7, 5, 7, 9]))
    assert lookup.find(np.array([9, 7, 6])).tolist() == [3, 0, -1]
    named = Lookup(np.array([7, 5]), np.array([70, 50]))
    assert named.find(np.array([5, 7])).tolist() == [50, 70]
    assert Lookup(np.empty(0, np.int64)).find(np.array([1])).tolist() == [-1]


def test_nobody_has_no_value():
    values = np.array([10, 20])
    assert pick(values, np.array([1, -1, 0])).tolist() == [20, -1, 10]
    assert pick(values, nobody(1), otherwise=7).tolist() == [7]
    assert pick(np.empty(0, np.int64), nobody(2)).tolist() == [-1, -1]


def test_texts_of_two_columns_have_codes_in_common():
    codes, distinct = text_codes(texts("a", "b", "a"))
    assert codes.tolist() == [0, 1, 0]
    assert codes_among(texts("b", "c", "a"), distinct).tolist() == [1, -1, 0]
    assert codes_among(texts(), distinct).tolist() == []
    assert codes_among(texts("a"), text_codes(texts())[1]).tolist() == [-1]
    assert is_blank(texts("", "x")).tolist() == [True, False]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2))))
def test_only_one_is_a_key_whose_rows_agree(pairs):
    keys, among = np.array(pairs, np.int64).reshape(-1, 2).T
    expected = [
        len({other for key, other in pairs if key == wanted}) == 1
        for wanted, _ in pairs
    ]
    assert only_one(keys, among).tolist() == expected


def test_rows_are_the_same_if_the_chosen_columns_are():
    table = pa.table({"a": ["x", "x", "y", "x"], "b": [1, 2, 1, 1], "c": [1, 2, 3, 4]})
    assert same_rows(table, ["a", "b"]).tolist() == [0, 1, 2, 0]
    assert same_rows(table, ["a"]).tolist() == [0, 0, 2, 0]
    assert same_rows(table.slice(0, 0), ["a"]).tolist() == []
