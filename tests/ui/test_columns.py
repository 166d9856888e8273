import pytest

from ebpf_net.ui.columns import ORDERS, lay_out, sorted_rows
from ebpf_net.ui.view_state import SORT_KEYS


def titles(width, order="bytes"):
    return [column.title for column in lay_out(width, order).columns]


def test_columns_fit_eighty_columns():
    assert titles(80) == ["", "out/s", "in/s", "pkt/s", "rtt", "retr", "new", "act"]


def test_wider_terminals_have_more_columns():
    assert titles(120) == [
        "", "out/s", "in/s", "pkt/s", "rtt", "min", "retr", "new", "act", "fail",
    ]  # fmt: skip
    assert titles(160) == [
        "", "out/s", "in/s", "pkt/s", "rtt", "min", "retr", "rst", "synt", "new",
        "act", "fail", "conn",
    ]  # fmt: skip
    assert len(titles(250)) == 16


def test_narrow_terminals_keep_the_ends():
    assert titles(60) == ["out/s", "in/s", "rtt", "retr", "new", "act"]
    assert titles(40) == ["out/s", "in/s"]
    assert titles(10) == []


@pytest.mark.parametrize("order", ORDERS)
def test_the_column_of_the_order_is_always_there(order):
    layout = lay_out(60, order)
    assert order in [column.sort for column in layout.columns]


@pytest.mark.parametrize("width", range(30, 260))
def test_columns_fill_the_width_exactly(width):
    layout = lay_out(width, "bytes")
    used = layout.who + layout.whom + layout.gap
    used += sum(column.width + layout.gap for column in layout.columns)
    assert used == width


def test_each_key_has_an_order():
    assert list(SORT_KEYS.values()) == list(ORDERS)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("bytes", [98_885_432, 99_000, 880, 0]),
        ("failures", [0, 98_885_432, 99_000, 880]),
        ("rtt", [98_885_432, 99_000, 880, 0]),
    ],
)
def test_largest_first_and_bytes_break_ties(snapshot, order, expected):
    rows = sorted_rows(snapshot.pairs, order)
    assert snapshot.pairs.bytes[rows].tolist() == expected
