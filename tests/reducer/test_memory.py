from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.reducer.keys import EdgeKeys
from ebpf_net.reducer.memory import (
    RECENT_WINDOWS,
    Ends,
    KnownKeys,
    Learned,
    Memory,
    find,
    find_ends,
    known_keys,
    no_ends,
)


def keys(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def known(*values: int, source: int = 0) -> KnownKeys:
    """Keys whose far key is a hundred more."""
    near = keys(*values)
    ends = (
        Ends(np.full(len(near), source), near * 10, near * 100) if source else no_ends()
    )
    return known_keys(near, near + 100, ends, np.ones(len(near), bool))


def learn(memory: Memory, number: int, *values: int) -> None:
    memory.learn(number, Learned(known(*values, source=1), known(), known()))


@given(st.sets(st.integers(-99, 99)), st.lists(st.integers(-99, 99)))
def test_find_returns_the_place_or_minus_one(present, wanted):
    places = find(keys(*sorted(present)), keys(*wanted)).tolist()
    ordered = sorted(present)
    assert places == [ordered.index(one) if one in present else -1 for one in wanted]


@given(st.integers(1, 600), st.integers(4000, 5000), st.integers(0, 99))
def test_find_is_the_same_for_many(present, wanted, seed):
    random = np.random.default_rng(seed)
    ordered = np.unique(random.integers(-999, 999, present))
    asked = random.integers(-999, 999, wanted)
    places = find(ordered, asked)
    assert np.array_equal(places >= 0, np.isin(asked, ordered))
    assert np.array_equal(ordered[places[places >= 0]], asked[places >= 0])


def test_ends_are_found_by_the_near_key_then_by_the_far_one():
    found, ends = find_ends([known(5, 3, source=1)], keys(3, 9, 9), keys(0, 105, 0))
    assert found.tolist() == [True, True, False]
    assert ends.process.tolist() == [30, 50, 0]


def test_first_part_that_knows_an_end_counts():
    parts = [known(1, source=2), known(1, 2, source=3)]
    found, ends = find_ends(parts, keys(1, 2), keys(0, 0))
    assert found.tolist() == [True, True]
    assert ends.source.tolist() == [2, 3]


def test_ends_of_dead_sources_do_not_count():
    parts = [known(1, source=2), known(1, source=3)]
    found, ends = find_ends(parts, keys(1), keys(0), live=frozenset({3}))
    assert found.tolist() == [True]
    assert ends.source.tolist() == [3]


def test_oldest_windows_are_forgotten_over_the_bound():
    memory = Memory(max_keys=3)
    for number in range(3):
        learn(memory, number, 1, 2)
    memory.forget(newest=2, oldest=0)
    assert sorted(memory.clients) == [2]
    assert memory.forgotten == 4


def test_windows_beyond_the_horizon_are_forgotten():
    memory = Memory()
    learn(memory, 1, 1)
    learn(memory, 2, 1)
    memory.forget(newest=2, oldest=2)
    assert sorted(memory.clients) == [2]
    assert memory.forgotten == 0


def test_names_of_ends_are_kept_for_recent_windows_only():
    memory = Memory()
    learn(memory, 1, 7)
    memory.forget(newest=2 + RECENT_WINDOWS, oldest=0)
    assert memory.clients[1][0].near.tolist() == [7]
    assert len(memory.clients[1][0].ends) == 0


def test_windows_that_changed_are_told_once():
    memory = Memory(max_keys=9)
    learn(memory, 1, 1, 2)
    learn(memory, 2, 1)
    assert memory.take_changed() == {1, 2}
    memory.forget(newest=2, oldest=1)
    assert memory.take_changed() == set()
    learn(memory, 1, 3)
    assert memory.sizes == {1: 3, 2: 1}
    assert memory.take_changed() == {1}
    memory.forget(newest=2, oldest=2)
    assert memory.take_changed() == {1}
    assert memory.sizes == {2: 1}


def test_servers_are_kept_for_recent_windows_only():
    memory = Memory()
    memory.learn(1, Learned(known(1), known(2), known(3, 4, source=1)))
    memory.take_changed()
    memory.forget(newest=1 + RECENT_WINDOWS, oldest=0)
    assert (len(memory), memory.take_changed()) == (4, set())
    memory.forget(newest=2 + RECENT_WINDOWS, oldest=0)
    assert (len(memory), memory.take_changed()) == (2, {1})
    assert (list(memory.clients), list(memory.endpoints)) == ([1], [])


@given(
    st.lists(st.tuples(st.integers(0, 20), st.sets(st.integers(0, 9)))),
    st.integers(0, 20),
)
def test_size_is_the_sum_of_what_is_known(learned, max_keys):
    memory, newest = Memory(max_keys=max_keys), 0
    for number, values in learned:
        learn(memory, number, *values)
        newest = max(newest, number)
        memory.forget(newest, newest - 9)
        parts = [part for parts in memory.clients.values() for part in parts]
        assert len(memory) == sum(map(len, parts)) == sum(memory.sizes.values())
        assert len(memory) <= max_keys
        assert all(number >= newest - 9 for number in memory.clients)


def test_what_is_known_of_old_keys_follows_to_new_ones_once():
    memory = Memory()
    learn(memory, 5, 1, 2)
    old = EdgeKeys(keys(1, 9), keys(101, 109), keys(0, 0), keys(0, 0))
    new = old.within(keys(64, 64))
    for _ in range(2):
        memory.follow([5], old, new)
    assert len(memory) == 3
    found, ends = find_ends(memory.clients[5], new.near, new.far)
    assert found.tolist() == [True, False]
    assert ends.process.tolist() == [10, 0]
    assert find_ends(memory.clients[5], old.near, old.far)[0].tolist() == [True, False]
