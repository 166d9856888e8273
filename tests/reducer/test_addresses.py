from __future__ import annotations

import ipaddress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.reducer.addresses import address_texts
from ebpf_net.testing.tables import split_address


def texts(addresses) -> list[str]:
    halves = np.array([split_address(str(one)) for one in addresses], np.int64)
    halves = halves.reshape(-1, 2)
    return address_texts(halves[:, 0].copy(), halves[:, 1].copy()).to_pylist()


def test_mapped_addresses_are_dotted_quads():
    assert texts(["10.0.0.1", "255.255.255.255", "::1", "2001:db8::5"]) == [
        "10.0.0.1",
        "255.255.255.255",
        "::1",
        "2001:db8::5",
    ]


@given(st.lists(st.ip_addresses()))
def test_text_means_the_same_address(addresses):
    assert [ipaddress.ip_address(text) for text in texts(addresses)] == [
        getattr(one, "ipv4_mapped", None) or one for one in addresses
    ]
