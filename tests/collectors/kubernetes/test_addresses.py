from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.kubernetes.addresses import (
    Holder,
    address_row,
    has_ended,
    node_port_row,
    parse_address,
    to_ns,
    with_end,
    with_start,
)

HOLDER = Holder("pod", "u", 100)
KEY, ROW = address_row(HOLDER, "10.0.0.1")


@pytest.mark.parametrize(
    ("text", "halves"),
    [
        ("10.0.0.1", (0, 0xFFFF0A000001)),
        ("::1", (0, 1)),
        ("fd00::1", ((0xFD00 << 48) - 2**64, 1)),
        ("::ffff:10.0.0.1", (0, 0xFFFF0A000001)),
        ("", None),
        ("None", None),
        ("10.1", None),
        ("fe80::1%eth0", None),
        ("10.0.0.1\0", None),
    ],
)
def test_addresses_become_two_signed_halves(text, halves):
    assert parse_address(text) == halves


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_none(text):
    halves = parse_address(text)
    assert halves is None or all(-(2**63) <= half < 2**63 for half in halves)


def test_a_row_has_the_columns_of_the_schema():
    assert KEY == "u/10.0.0.1"
    assert ROW == (KEY, "pod", "u", 0, 0xFFFF0A000001, 100, 0, 0, 0)


def test_a_port_is_part_of_the_key():
    key, row = address_row(Holder("load_balancer", "u", 1), "::1", 80, 6)
    assert key == "u/::1/80/6"
    assert row == (key, "load_balancer", "u", 0, 1, 1, 0, 80, 6)


def test_a_node_port_is_any_nodes():
    key, row = node_port_row(Holder("node_port", "u", 1), 30080, 17)
    assert row == (key, "node_port", "u", 0, 0, 1, 0, 30080, 17)


def test_times_are_unix_nanoseconds():
    assert to_ns(None) == 0
    assert to_ns(datetime(1970, 1, 1, 0, 0, 1, 5, UTC)) == 1_000_005_000
    assert to_ns(datetime(1970, 1, 1, 0, 0, 1)) == 1_000_000_000  # noqa: DTZ001


def test_the_first_end_stays():
    ended = with_end(ROW, 200)
    assert ended[6] == 200
    assert has_ended(ended)
    assert with_end(ended, 300) == ended


def test_an_end_is_after_the_start():
    assert with_end(ROW, 5)[6] == 101


def test_the_first_start_stays():
    later = (*ROW[:5], 150, *ROW[6:])
    assert with_start(later, ROW, 500, moved=False) == ROW


def test_an_address_that_is_back_starts_again():
    assert with_start(ROW, with_end(ROW, 200), 500, moved=False)[5:7] == (500, 0)


def test_an_address_in_place_of_another_starts_now():
    assert with_start(ROW, None, 500, moved=True)[5] == 500
    assert with_start(ROW, None, 500, moved=False)[5] == 100
