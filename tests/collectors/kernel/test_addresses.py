import ipaddress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.kernel.addresses import address_halves, are_loopback
from ebpf_net.testing.kernel import address_bytes


def column(*addresses):
    return np.array([address_bytes(address) for address in addresses], np.uint8)


@given(st.lists(st.ip_addresses(v=6), min_size=1))
def test_halves_make_up_the_address(addresses):
    high, low = address_halves(column(*map(str, addresses)))
    words = zip(high.tolist(), low.tolist(), strict=True)
    assert [
        ipaddress.IPv6Address((upper % 2**64) << 64 | lower % 2**64)
        for upper, lower in words
    ] == addresses


def test_loopback_is_127_and_one():
    addresses = ["127.0.0.1", "127.255.255.255", "::1", "126.0.0.1", "128.0.0.0"]
    addresses += ["::", "::2", "0.0.0.0", "2001:db8::1", "::7f00:1"]
    assert are_loopback(column(*addresses)).tolist() == [True] * 3 + [False] * 7
