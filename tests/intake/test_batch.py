import dataclasses

import pytest

from ebpf_net.intake.batch import BatchKind, Receipt
from ebpf_net.testing.intake import make_header


def test_header_is_a_value():
    assert make_header(1) == make_header(1)
    assert make_header(1) != make_header(1, kind=BatchKind.SNAPSHOT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_header(1).sequence = 2


def test_a_batch_is_new_and_nothing_settled_unless_said():
    assert make_header(1).settled == 0
    assert not Receipt(0, 0, "reducer-1", 0).duplicate
