import numpy as np
import pyarrow as pa

from ebpf_net.ui import text_columns
from ebpf_net.ui.text_columns import from_integers, from_texts, join


def test_columns_and_constants_are_joined_row_by_row():
    joined = join(from_texts(["a", "b"]), "-", from_texts(["c", "d"]), separator=" ")
    assert joined.to_pylist() == ["a - c", "b - d"]


def test_integers_are_right_aligned():
    assert from_integers(np.array([7, 2**62]), 3).to_pylist() == ["  7", str(2**62)]


def test_choose_takes_columns_and_constants():
    mask = np.array([True, False])
    assert text_columns.choose(mask, "x", from_texts(["a", "b"])).to_pylist() == [
        "x",
        "b",
    ]


def test_put_replaces_the_rows_of_the_mask_in_order():
    column = from_texts(["a", "b", "c"])
    put = text_columns.put(column, np.array([True, False, True]), ["x", "y"])
    assert put.to_pylist() == ["x", "b", "y"]


def test_comparisons_give_arrays_of_bool():
    column = from_texts(["alpha", "Beta"])
    assert text_columns.equals(column, "alpha").tolist() == [True, False]
    assert text_columns.contains(column, "et").tolist() == [False, True]
    assert text_columns.matches(column, "^[a-z]+$").tolist() == [True, False]
    assert text_columns.lower(column).to_pylist() == ["alpha", "beta"]


def test_a_search_is_for_plain_text():
    assert text_columns.contains(from_texts(["a.b", "axb"]), "a.").tolist() == [
        True,
        False,
    ]


def test_blanks_are_squeezed():
    column = text_columns.single_spaced(from_texts(["  a   b ", ""]))
    assert column.to_pylist() == ["a b", ""]


def test_rank_is_the_place_in_the_order_of_values():
    assert text_columns.rank(from_texts(["c", "a", "b"])).tolist() == [2, 0, 1]


def test_read_text_joins_the_chunks():
    table = pa.table({"a": pa.chunked_array([["x"], ["y"]])})
    assert text_columns.read_text(table, "a").to_pylist() == ["x", "y"]
    empty = table.slice(0, 0)
    assert text_columns.read_text(empty, "a").to_pylist() == []


def test_take_and_values():
    column = text_columns.take(from_texts(["a", "b"]), np.array([1, 1, 0]))
    assert text_columns.values(column) == ["b", "b", "a"]
