import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.cloud.records import AddressRange, address_range, time_ns

_MAPPED = 0xFFFF << 32


def test_an_address_is_a_range_of_one():
    assert address_range("10.0.0.1", is_public=False) == AddressRange(
        0, _MAPPED | 0x0A000001, 128, False
    )
    assert address_range("2001:db8::1", is_public=True) == AddressRange(
        0x20010DB8 << 32, 1, 128, True
    )


def test_a_prefix_counts_its_length_from_the_128_bits():
    assert address_range("10.0.1.16/28", is_public=False) == AddressRange(
        0, _MAPPED | 0x0A000110, 124, False
    )
    assert address_range("2001:db8:0:1::/80", is_public=False) == AddressRange(
        0x20010DB8_0000_0001, 0, 80, False
    )


def test_host_bits_of_a_prefix_are_dropped():
    assert address_range("10.0.1.17/28", is_public=False) == address_range(
        "10.0.1.16/28", is_public=False
    )


def test_what_is_no_address_is_none():
    for text in ("", "10.0.0", "10.0.0.1/33", "10.0.0.1/x", "/8", "fe80::1%eth0/64"):
        assert address_range(text, is_public=False) is None


@given(st.text() | st.from_regex(r"[0-9a-f.:]{1,20}/[0-9]{1,3}"))
def test_any_text_is_a_range_or_none(text):
    found = address_range(text, is_public=True)
    assert found is None or 0 <= found.prefix_length <= 128


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("1969-12-31T16:00:02.000-08:00", 2),
        ("", 0),
        (None, 0),
        ("yesterday", 0),
    ],
)
def test_times_are_of_any_zone(text, seconds):
    assert time_ns(text) == seconds * 10**9
