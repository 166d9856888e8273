import contextlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

from ebpf_net.exporters.protobuf_wire import (
    WireError,
    bytes_field,
    double_field,
    encode_varint,
    encode_varints,
    fixed64_field,
    read_fields,
    string_field,
    varint_column,
    varint_field,
    zigzag,
)

numbers = st.integers(0, 2**63 - 1) | st.sampled_from([0, 127, 128, 2**14, 2**62])


@given(st.lists(numbers))
def test_columns_of_varints_equal_single_ones(values):
    column = np.array(values, np.int64)
    encoded, offsets = encode_varints(column)
    expected = [encode_varint(value) for value in values]
    assert encoded.tobytes() == b"".join(expected)
    assert np.diff(offsets).tolist() == [len(each) for each in expected]
    assert varint_column(column).to_pylist() == expected


@given(numbers)
def test_varint_can_be_read_back(value):
    assert list(read_fields(varint_field(5, value))) == [(5, value)]


@given(st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.floats())
def test_fields_equal_those_of_protobuf(time, number, double):
    point = NumberDataPoint(time_unix_nano=time, as_int=number)
    expected = point.SerializeToString()
    head = fixed64_field(3, time) if time else b""
    assert head + fixed64_field(6, number) == expected
    point = NumberDataPoint(as_double=double)
    assert double_field(4, double) == point.SerializeToString()


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (-1, 1), (1, 2), (-2, 3), (2**31 - 1, 2**32 - 2)]
)
def test_signed_numbers_are_zigzagged(value, expected):
    assert zigzag(value) == expected


def test_empty_text_is_no_field():
    assert string_field(1, "") == b""
    assert string_field(1, "é") == b"\x0a\x02\xc3\xa9"


def test_fields_of_all_types_are_read():
    message = bytes_field(1, b"ab") + fixed64_field(2, 1) + b"\x1d\x01\x00\x00\x00"
    assert list(read_fields(message)) == [
        (1, b"ab"),
        (2, (1).to_bytes(8, "little")),
        (3, b"\x01\x00\x00\x00"),
    ]


@given(st.binary())
@example(b"\x08")
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
@example(b"\x80" * 20)
@example(b"\x0b")
def test_random_bytes_raise_only_a_wire_error(message):
    with contextlib.suppress(WireError):
        list(read_fields(message))
