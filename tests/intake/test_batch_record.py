import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.errors import BatchError
from ebpf_net.intake.batch import Batch
from ebpf_net.intake.batch_record import pack_batch, unpack_batch
from ebpf_net.testing.intake import make_batch, make_header

BATCH = make_batch(3)
RECORD = b"".join(pack_batch(BATCH))


def test_record_survives_the_way():
    assert unpack_batch(RECORD) == BATCH


def test_empty_body_survives_the_way():
    batch = Batch(make_header(), b"", 0)
    assert unpack_batch(b"".join(pack_batch(batch))) == batch


def test_every_truncation_is_noticed():
    for size in range(len(RECORD)):
        with pytest.raises(BatchError):
            unpack_batch(RECORD[:size])


def test_ten_thousand_bit_flips_are_noticed():
    chance = random.Random(2)
    for _ in range(10_000):
        damaged = bytearray(RECORD)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        if damaged == RECORD:
            continue
        with pytest.raises(BatchError):
            unpack_batch(bytes(damaged))


def test_longer_record_is_noticed():
    with pytest.raises(BatchError):
        unpack_batch(RECORD + b"\0")


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_the_documented_error(record):
    with pytest.raises(BatchError):
        unpack_batch(record)
