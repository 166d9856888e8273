import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.settings import values

PARSERS = [
    values.boolean,
    values.port,
    values.count,
    values.seconds,
    values.size,
    values.host_port,
    values.choice("a", "b"),
    values.path,
    values.pattern,
    values.host,
    values.memory,
    values.paths,
]


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.text())
def test_any_text_is_a_value_or_a_value_error(parse, text):
    with contextlib.suppress(ValueError):
        parse(text)


def test_sizes_have_units():
    assert values.size("64M") == 64 << 20
    assert values.size("1GiB") == 1 << 30
    assert values.size("17") == 17


def test_ipv6_addresses_stand_in_brackets():
    assert values.host_port("[::1]:7010") == ("::1", 7010)
    assert values.host_port("0.0.0.0:7001") == ("0.0.0.0", 7001)


@given(st.integers(1, 2**50) | st.integers(1, 9).map(lambda number: number << 20))
def test_sizes_read_back_as_they_are_written(number):
    assert values.size(values.format_size(number)) == number


def test_sizes_are_written_in_the_largest_unit_that_is_exact():
    written = [values.format_size(number) for number in (4 << 20, 1 << 30, 1536, 17)]
    assert written == ["4M", "1G", "1536", "17"]


def test_addresses_are_written_as_they_are_read():
    assert values.format_host_port("::1", 7010) == "[::1]:7010"
    assert values.format_host_port("0.0.0.0", 7001) == "0.0.0.0:7001"


def test_paths_may_hold_blanks():
    assert values.paths("/a b.mmdb, /c.mmdb") == ("/a b.mmdb", "/c.mmdb")
