import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ebpf_net.collectors.kernel.container_api import ApiError
from ebpf_net.collectors.kernel.protobuf_fields import (
    read_fields,
    read_map,
    read_message,
    read_messages,
    read_text,
    write_field,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.integers(1, 2**29 - 1), st.integers(0, 2**64 - 1) | st.binary())
def test_what_is_written_is_read(number, value):
    assert list(read_fields(write_field(number, value))) == [(number, value)]


@given(st.dictionaries(TEXTS, TEXTS))
def test_a_map_that_is_written_is_read(value):
    assert read_map(write_field(7, value), 7) == value


def test_numbers_of_fixed_size_are_read():
    message = b"\x09" + b"\x01" + bytes(7) + b"\x15" + b"\x02" + bytes(3)
    assert list(read_fields(message)) == [(1, 1), (2, 2)]


def test_of_a_single_field_the_last_value_counts():
    message = write_field(1, "a") + write_field(2, 5) + write_field(1, "b")
    assert read_messages(message, 1) == [b"a", b"b"]
    assert read_message(message, 1) == b"b"
    assert (read_text(message, 1), read_text(message, 2)) == ("b", "")


def test_a_text_that_is_none_is_replaced():
    assert read_text(write_field(1, b"a\xff"), 1) == "a\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "message", [b"\x0a\x05abc", b"\x0a", b"\x80" * 11, b"\x0b", b"\x0f", b"\x09abc"]
)
def test_what_is_no_message_is_an_error(message):
    with pytest.raises(ApiError):
        list(read_fields(message))


@given(st.binary())
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
def test_random_bytes_raise_nothing_else(message):
    with contextlib.suppress(ApiError):
        list(read_fields(message))
