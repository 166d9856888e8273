import numpy as np

from ebpf_net.reducer.lookups import NOBODY, Lookup
from ebpf_net.reducer.places import (
    Place,
    Places,
    address_key,
    all_shared,
    anywhere,
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
        shared=Lookup(numbers()),
    )
    host, cgroup = numbers(0, 0, 1, 1, NOBODY), numbers(0, 1, 0, NOBODY, NOBODY)
    assert places.of(host, cgroup).tolist() == [1, 0, 1, NOBODY, NOBODY]


def test_addresses_of_several_places_are_shared():
    place, low = numbers(0, 0, 1, 1, 0), numbers(5, 5, 6, 7, 7)
    high = np.zeros(5, np.int64)
    shared = shared_addresses(place, high, low)
    wanted = address_key(np.zeros(3, np.int64), numbers(5, 6, 7))
    assert (shared.find(wanted) >= 0).tolist() == [False, False, True]


def test_what_places_of_any_kind_share_is_known_of_all():
    kinds = [
        Places(numbers(), numbers(), numbers(), Lookup(numbers(*keys)))
        for keys in ((1, 2), (), (2, 3))
    ]
    assert all_shared(kinds).keys.tolist() == [1, 2, 3]
