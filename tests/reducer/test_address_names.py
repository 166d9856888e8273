from __future__ import annotations

import ipaddress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.reducer.address_names import AddressNames, Asked, Held, see, ties
from ebpf_net.reducer.claims import Span
from ebpf_net.reducer.lookups import NOBODY
from ebpf_net.reducer.places import Place, anywhere, place_key
from ebpf_net.testing.tables import split_address

SPAN = Span(1000, 1010)
HTTP = 80 << 8 | 6
ADDRESS, OTHER, PUBLIC = "10.0.0.1", "10.0.0.2", "203.0.114.9"


def numbers(*values):
    return np.array(values, np.int64)


def halves(*addresses):
    return np.array([split_address(one) for one in addresses], np.int64).T


def held(*rows):
    """Rows of place, address, service, from and until; the owner is the row number."""
    places, addresses, services, begins, ends = zip(*rows, strict=True)
    high, low = halves(*addresses)
    zeros = np.zeros(len(rows), np.int64)
    return Held(
        place_key(Place.CLUSTER, numbers(*places)),
        high,
        low,
        numbers(*services),
        np.arange(len(rows)),
        zeros,
        numbers(*begins),
        numbers(*ends),
        zeros,
    )


def asked(places, addresses, service=HTTP):
    high, low = halves(*addresses)
    service = np.full(len(high), service, np.int64)
    return Asked((numbers(*places),), high, low, service)


def test_the_same_address_is_another_owners_in_another_place():
    names = AddressNames(held((0, ADDRESS, 0, 0, 0), (1, ADDRESS, 0, 0, 0)))
    wanted = asked((0, 1, 2, NOBODY), [ADDRESS] * 4)
    found = names.find(wanted.within(Place.CLUSTER), SPAN)
    assert found.tolist() == [0, 1, NOBODY, NOBODY]
    assert (names.find(wanted.within(Place.ANYWHERE), SPAN) == NOBODY).all()


def test_an_address_is_its_owners_of_most_of_the_time():
    names = AddressNames(held((0, ADDRESS, 0, 0, 1004), (0, ADDRESS, 0, 1004, 0)))
    seen = asked([0], [ADDRESS]).within(Place.CLUSTER)
    spans = (Span(980, 990), SPAN, Span(1010, 1020))
    assert [names.find(seen, span).tolist() for span in spans] == [[0], [1], [1]]


@pytest.mark.parametrize(
    ("service", "owner"),
    [(HTTP, 2), (80 << 8 | 17, 1), (9 << 8 | 6, 0), (0, 0)],
)
def test_who_tells_the_port_goes_before_who_does_not(service, owner):
    names = AddressNames(
        held(
            (0, ADDRESS, 0, 0, 0),
            (0, ADDRESS, 80 << 8, 0, 0),
            (0, ADDRESS, HTTP, 0, 0),
        )
    )
    seen = asked([0], [ADDRESS], service).within(Place.CLUSTER)
    assert names.find(seen, SPAN).tolist() == [owner]


def test_public_addresses_are_seen_from_anywhere_unless_two_claim_them():
    rows = held(
        (0, ADDRESS, 0, 0, 0),
        (0, PUBLIC, 0, 0, 0),
        (0, "203.0.114.10", 0, 0, 0),
        (1, "203.0.114.10", 0, 0, 0),
        (1, "203.0.114.11", 0, 0, 0),
    )
    chosen = numbers(0, 1, 2, 3) == np.arange(4)
    with_public = rows.with_public(np.append(chosen, False))
    names = AddressNames(with_public)
    wanted = asked([NOBODY] * 4, [ADDRESS, PUBLIC, "203.0.114.10", "203.0.114.11"])
    found = names.find(wanted.within(Place.ANYWHERE), SPAN)
    assert found.tolist() == [NOBODY, 1, NOBODY, NOBODY]
    assert with_public.place[-1] == anywhere(1)[0]
    none = np.zeros(5, np.bool_)
    assert rows.with_public(none) is rows


def test_the_longest_range_goes_first():
    rows = held(
        (0, "10.0.0.0", 0, 0, 0),
        (0, ADDRESS, 0, 0, 1000),
        (0, "10.0.0.0", HTTP, 0, 0),
        (0, "2001:db8::", 0, 0, 0),
        (0, "2001:db8:0:1::", 0, 0, 0),
        (1, "0.0.0.0", 0, 0, 0),
    )
    names = AddressNames(rows, numbers(96 + 28, 128, 96 + 8, 32, 64, 96))
    addresses = [ADDRESS, "10.0.0.16", "2001:db8:1::", "2001:db8:0:1::9", "9.9.9.9"]
    found = {}
    for place, service in ((0, 0), (0, HTTP), (1, 0)):
        seen = asked([place] * 5, addresses, service).within(Place.CLUSTER)
        found[place, service] = names.find(seen, SPAN).tolist()
    assert found == {
        (0, 0): [0, NOBODY, 3, 4, NOBODY],
        (0, HTTP): [0, 2, 3, 4, NOBODY],
        (1, 0): [5, 5, NOBODY, NOBODY, 5],
    }
    earlier = asked([0], [ADDRESS]).within(Place.CLUSTER)
    assert names.find(earlier, Span(990, 1000)).tolist() == [1]


@given(
    st.lists(st.tuples(st.ip_addresses(v=6), st.integers(0, 128)), min_size=1),
    st.ip_addresses(v=6),
)
def test_ranges_are_those_of_the_library(pairs, address):
    networks = [
        ipaddress.ip_network((int(first), length), strict=False)
        for first, length in pairs
    ]
    rows = [(0, str(one.network_address), 0, 0, 0) for one in networks]
    names = AddressNames(held(*rows), numbers(*(one.prefixlen for one in networks)))
    around = [one.prefixlen for one in networks if address in one]
    seen = asked([0], [str(address)], 0).within(Place.CLUSTER)
    (found,) = names.find(seen, SPAN).tolist()
    assert (found >= 0) == bool(around)
    assert not around or networks[found].prefixlen == max(around)


def test_ties_are_decided_by_the_texts():
    key, texts = numbers(1, 2, 1, 1), pa.chunked_array([["b", "x", "a", "c"]])
    assert ties(key, texts).tolist() == [1, 0, 0, 2]


def test_nobody_is_found_where_nothing_is_held():
    nothing = held((0, ADDRESS, 0, 0, 0)).take(numbers())
    seen = asked([0], [ADDRESS]).within(Place.CLUSTER)
    assert AddressNames(nothing).find(seen, SPAN).tolist() == [NOBODY]


rows = st.tuples(
    st.integers(0, 2),
    st.sampled_from([ADDRESS, OTHER, PUBLIC]),
    st.sampled_from([0, HTTP, 80 << 8]),
    st.integers(990, 1012),
    st.one_of(st.just(0), st.integers(1013, 1020)),
)


@given(st.lists(rows, min_size=1, max_size=12))
def test_what_is_in_one_place_does_not_depend_on_others(given_rows):
    everything = held(*given_rows)
    names = AddressNames(everything)
    for place in range(3):
        index = np.flatnonzero(everything.place == place_key(0, numbers(place)))
        alone = AddressNames(everything.take(index))
        for address in (ADDRESS, OTHER, PUBLIC):
            seen = asked([place], [address]).within(Place.CLUSTER)
            assert names.find(seen, SPAN) == alone.find(seen, SPAN)


def test_chosen_addresses_keep_their_keys():
    wanted = asked((0, 1), [ADDRESS, OTHER])
    seen = wanted.within(Place.CLUSTER)
    index = numbers(1)
    assert seen.take(index).key == wanted.take(index).within(Place.CLUSTER).key
    again = see(seen.place, seen.high, seen.low, seen.service)
    assert (again.key == seen.key).all()
    assert (replace(held((0, ADDRESS, 0, 0, 0)), place=seen.place[:1])).key == seen.key[
        0
    ]
