import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.table_parts import split_tables


def table(*texts):
    return {"key": list(texts), "number": np.arange(len(texts), dtype=np.int64)}


def keys(parts):
    return [{name: part[name]["key"] for name in part} for part in parts]


def test_what_fits_is_one_part():
    parts = list(split_tables({"a": table("x", "y"), "b": table("z")}))
    assert keys(parts) == [{"a": ["x", "y"], "b": ["z"]}]


def test_tables_without_rows_are_left_out():
    assert list(split_tables({"a": table()})) == []
    assert keys(split_tables({"a": table(), "b": table("x")})) == [{"b": ["x"]}]


def test_parts_are_no_larger_than_asked():
    # A row has its text, 4 bytes for its length and 8 for the number.
    parts = list(split_tables({"a": table("a", "b", "c"), "b": table("d")}, 26))
    assert keys(parts) == [{"a": ["a", "b"]}, {"a": ["c"], "b": ["d"]}]
    assert parts[1]["a"]["number"].tolist() == [2]


def test_a_row_that_is_larger_goes_alone():
    parts = split_tables({"a": table("a", "x" * 100, "b")}, 30)
    assert keys(parts) == [{"a": ["a"]}, {"a": ["x" * 100]}, {"a": ["b"]}]


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.lists(st.text(max_size=30), max_size=20), max_size=3
    ),
    st.integers(1, 200),
)
def test_parts_are_the_whole(texts, max_bytes):
    parts = list(
        split_tables({name: table(*rows) for name, rows in texts.items()}, max_bytes)
    )
    together = {name: [] for name in texts}
    for part in parts:
        assert part
        size = 0
        for name, columns in part.items():
            together[name] += columns["key"]
            size += sum(len(text) + 12 for text in columns["key"])
        assert size <= max_bytes or len(part) == len(columns["key"]) == 1
    assert together == texts


def test_texts_are_measured_as_they_are_sent():
    parts = list(split_tables({"a": table("\u20ac", "b")}, 26))
    assert keys(parts) == [{"a": ["\u20ac"]}, {"a": ["b"]}]
