from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.reducer.state_records import (
    StateRecord,
    decode_records,
    encode_record,
)

RECORD = StateRecord(
    {"number": 7},
    {
        "keys": np.array([3, -1], np.int64),
        "bytes": np.frombuffer(b"abc", np.uint8),
        "every second": np.arange(6)[::2],
        "none": np.empty(0, np.int64),
    },
)
ENCODED = encode_record(RECORD)


def test_records_follow_one_another():
    first, second = decode_records(ENCODED + encode_record(StateRecord({}, {})))
    assert first.header == {"number": 7}
    assert list(first.arrays) == list(RECORD.arrays)
    assert first.arrays["keys"].tolist() == [3, -1]
    assert first.arrays["bytes"].tobytes() == b"abc"
    assert first.arrays["every second"].tolist() == [0, 2, 4]
    assert first.arrays["none"].tolist() == []
    assert (second.header, second.arrays) == ({}, {})


@given(st.integers(1, len(ENCODED) - 1))
def test_half_a_record_is_refused(length):
    with pytest.raises(ValueError, match="bytes after"):
        list(decode_records(ENCODED[:length]))


def test_kind_of_array_that_nobody_writes_is_refused():
    with pytest.raises(KeyError):
        list(decode_records(ENCODED.replace(b'"uint8"', b'"bytes"')))
