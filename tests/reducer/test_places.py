import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.reducer.lookups import NOBODY, Lookup
from ebpf_net.reducer.places import (
    SEVERAL,
    Holders,
    Place,
    Places,
    Ranges,
    anywhere,
    host_address_key,
    place_key,
    shared_addresses,
)


def numbers(*values):
    return np.array(values, np.int64)


def test_places_of_no_two_kinds_have_the_same_key():
    keys = [place_key(kind, np.arange(10)) for kind in Place if kind != Place.ANYWHERE]
    distinct = np.unique(np.concatenate([*keys, anywhere(1)]))
    assert len(distinct) == 10 * len(keys) + 1
    assert (distinct >= 0).all()


def test_who_is_in_no_place_is_not_anywhere_either():
    assert place_key(Place.CLUSTER, numbers(NOBODY)).tolist() == [NOBODY]
    assert NOBODY not in anywhere(1)


def test_a_cgroup_tells_more_than_its_host():
    places = Places(
        keys=numbers(7, 8),
        of_host=numbers(0, NOBODY),
        of_cgroup=numbers(1, NOBODY),
        shared=Ranges(numbers(), numbers()),
    )
    host, cgroup = numbers(0, 0, 1, 1, NOBODY), numbers(0, 1, 0, NOBODY, NOBODY)
    zero = np.zeros(5, np.int64)
    found = places.of(host, cgroup, zero, zero).tolist()
    assert found == [1, 0, 1, NOBODY, NOBODY]
    assert places.hold(numbers(0), numbers(0), numbers(5)).tolist() == [True]


def test_an_address_tells_more_than_its_host():
    address = host_address_key(numbers(0, 0), numbers(0, 0), numbers(5, 6))
    places = Places(
        keys=numbers(7, 8),
        of_host=numbers(0, 1),
        of_cgroup=numbers(NOBODY),
        shared=Ranges(numbers(), numbers()),
        of_address=Lookup(address, numbers(0, 1)),
        holding=Ranges(numbers(0), numbers(6), place=numbers(1)),
    )
    nobody, zero = numbers(NOBODY, NOBODY, NOBODY), numbers(0, 0, 0)
    low = numbers(5, 6, 7)
    assert places.of(zero, nobody, zero, low).tolist() == [0, 1, 0]
    held = places.hold(numbers(0, 1, 1), zero, numbers(6, 6, 5))
    assert held.tolist() == [False, True, False]


def test_addresses_of_several_places_are_shared():
    place, low = numbers(0, 0, 1, 1, 0), numbers(5, 5, 6, 7, 7)
    high = np.zeros(5, np.int64)
    shared = shared_addresses(place, high, low)
    found = shared.has(np.zeros(3, np.int64), numbers(5, 6, 7))
    assert found.tolist() == [False, False, True]
    assert len(shared) == 1


ranges = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 15), st.integers(124, 128)),
    max_size=8,
)


@given(told=ranges)
def test_ranges_that_overlap_are_shared_where_they_do(told):
    place = numbers(*(one for one, _, _ in told))
    low = numbers(*(low & -1 << (128 - bits) for _, low, bits in told))
    length = numbers(*(bits for _, _, bits in told))
    zero, every = np.zeros(len(told), np.int64), np.arange(16)
    nought = np.zeros(16, np.int64)
    expected = [
        {one for one, low, bits in told if low >> (128 - bits) == at >> (128 - bits)}
        for at in range(16)
    ]
    shared = shared_addresses(place, zero, low, length)
    assert shared.has(nought, every).tolist() == [len(one) > 1 for one in expected]
    assert bool(len(shared)) == any(len(one) > 1 for one in expected)
    found = Holders(place, zero, low, length).find(nought, every)
    assert found.tolist() == [
        NOBODY if not one else SEVERAL if len(one) > 1 else min(one) for one in expected
    ]
    inside = Ranges(zero, low, length, place)
    for number in range(3):
        has = inside.has(nought, every, np.full(16, number))
        assert has.tolist() == [number in one for one in expected]
