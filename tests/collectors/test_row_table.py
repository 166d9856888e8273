import numpy as np

from ebpf_net.collectors.row_table import RowTable, slice_table

COLUMNS = (("key", "string"), ("number", "int64"), ("flag", "bool"))
ROWS = [("a", 1, True), ("b", 2, False), ("c", 3, True)]


def plain(table):
    return {name: list(table[name]) for name in table}


def test_rows_are_read_as_columns():
    table = RowTable(COLUMNS, ROWS, kept=2)
    assert plain(table) == {
        "key": ["a", "b", "c"],
        "number": [1, 2, 3],
        "flag": [True, False, True],
        "removed": [False, False, True],
    }
    assert len(table) == 4
    assert [table[name].dtype.name for name in ("number", "flag", "removed")] == [
        "int64",
        "bool",
        "bool",
    ]


def test_a_part_knows_what_of_it_was_removed():
    table = RowTable(COLUMNS, ROWS, kept=2)
    parts = [slice_table(table, first, first + 2) for first in (0, 2)]
    assert [part["key"] for part in parts] == [["a", "b"], ["c"]]
    assert [part["removed"].tolist() for part in parts] == [[False, False], [True]]


def test_columns_are_cut_as_rows_are():
    table = {"key": ["a", "b", "c"], "number": np.array([1, 2, 3])}
    assert plain(slice_table(table, 1, 9)) == {"key": ["b", "c"], "number": [2, 3]}
