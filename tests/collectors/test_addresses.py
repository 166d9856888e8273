from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.addresses import parse_address, to_ns


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


def test_times_are_unix_nanoseconds():
    assert to_ns(None) == 0
    assert to_ns(datetime(1970, 1, 1, 0, 0, 1, 5, UTC)) == 1_000_005_000
    assert to_ns(datetime(1970, 1, 1, 0, 0, 1)) == 1_000_000_000  # noqa: DTZ001
