from __future__ import annotations

import ipaddress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.reducer.keys import (
    Addresses,
    combine,
    edge_keys,
    is_link_local,
    is_loopback,
    text_key,
)
from ebpf_net.testing.tables import split_address


def columns(*texts: str) -> tuple[np.ndarray, np.ndarray]:
    halves = np.array([split_address(text) for text in texts], np.int64)
    return halves[:, 0].copy(), halves[:, 1].copy()


def is_not_mapped(address: ipaddress.IPv6Address) -> bool:
    return address.ipv4_mapped is None


def same(value: int) -> np.ndarray:
    return np.array([value], np.int64)


def test_keys_stay_the_same_between_versions():
    assert combine(same(1), same(2)).tolist() == [907899112815099903]
    assert text_key("collector", "one") == -3843454777407183347


def test_order_of_columns_matters():
    one, two = same(1), same(2)
    assert combine(one, two) != combine(two, one)


def test_small_numbers_do_not_collide():
    first, second = (side.ravel() for side in np.mgrid[0:1000, 0:1000])
    keys = combine(first.astype(np.int64), second.astype(np.int64))
    assert len(np.unique(keys)) == 1_000_000


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6).filter(is_not_mapped))
def test_special_addresses_are_those_of_the_standard_library(address):
    high, low = columns(str(address))
    assert bool(is_loopback(high, low)[0]) == address.is_loopback
    assert bool(is_link_local(high, low)[0]) == address.is_link_local


@given(st.ip_addresses(network=ipaddress.ip_network("fe00::/8")))
def test_link_local_addresses_end_where_they_should(address):
    high, low = columns(str(address))
    assert bool(is_link_local(high, low)[0]) == address.is_link_local


def keys_of(client: str, server: str, netns: int, boot: int):
    (client_high, client_low), (server_high, server_low) = (
        columns(client),
        columns(server),
    )
    addresses = Addresses(client_high, client_low, server_high, server_low)
    return edge_keys(addresses, same(80), same(netns), same(boot))


def test_far_key_is_the_same_on_every_host():
    one, other = (
        keys_of("10.0.0.1", "10.0.0.2", 1, 1),
        keys_of("10.0.0.1", "10.0.0.2", 2, 2),
    )
    assert one.far == other.far
    assert one.near != other.near
    assert one.near == keys_of("10.0.0.1", "10.0.0.2", 2, 1).near


def test_loopback_means_something_in_one_namespace_only():
    one = keys_of("127.0.0.1", "127.0.0.1", 1, 1)
    assert one.far == one.near
    assert one.near != keys_of("127.0.0.1", "127.0.0.1", 2, 1).near
    assert one.near != keys_of("127.0.0.1", "127.0.0.1", 1, 2).near


def test_link_local_addresses_mean_something_on_one_host_only():
    one = keys_of("fe80::1", "fe80::2", 1, 1)
    assert one.far == keys_of("fe80::1", "fe80::2", 2, 1).far
    assert one.far != keys_of("fe80::1", "fe80::2", 1, 2).far
    assert one.near != keys_of("fe80::1", "fe80::2", 2, 1).near
