from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from ebpf_net.reducer.claims import Claim, Claims, Span

KEY = 5
times = st.integers(0, 40)
claims = st.lists(st.tuples(times, times), max_size=5)


def make_claims(spans: list[tuple[int, int]], order: list[int] | None = None) -> Claims:
    """Claims on KEY, owned by their place in the list."""
    order = list(range(len(spans))) if order is None else order
    chosen = np.array([spans[place] for place in order], np.int64).reshape(-1, 2)
    owner = np.array(order, np.int64)
    key = np.full(len(order), KEY)
    return Claims(Claim(key, owner, chosen[:, 0], chosen[:, 1], owner))


def owner_in(claims: Claims, start: int, end: int) -> int:
    return int(claims.find(np.array([KEY]), Span(start, end))[0])


def test_owner_is_who_had_the_address_for_most_of_the_window():
    claims = make_claims([(0, 108), (108, 0)])
    assert owner_in(claims, 100, 110) == 0
    assert owner_in(claims, 105, 115) == 1
    assert owner_in(claims, 103, 113) == 1  # of equal ones the later


def test_nobody_had_the_address_before_between_and_after():
    claims = make_claims([(10, 20), (30, 40)])
    assert [owner_in(claims, at, at + 5) for at in (5, 22, 40)] == [-1, -1, -1]
    assert owner_in(claims, 15, 35) == 1


def test_later_claim_ends_a_former_one_of_which_no_end_is_known():
    claims = make_claims([(0, 0), (104, 0)])
    assert [owner_in(claims, at, at + 10) for at in (90, 100, 110)] == [0, 1, 1]


def test_other_keys_are_nobodys():
    claims = make_claims([(0, 0)])
    assert claims.find(np.array([4, KEY, 6]), Span(0, 1)).tolist() == [-1, 0, -1]
    assert make_claims([]).find(np.array([KEY]), Span(0, 1)).tolist() == [-1]


def expected_owner(spans: list[tuple[int, int]], start: int, end: int) -> int:
    """The same, one moment after the other: who began last has an address."""
    best, longest = -1, 0
    ranked = sorted(range(len(spans)), key=lambda place: (spans[place][0], place))
    for rank, place in enumerate(ranked):
        first, until = spans[place]
        following = spans[ranked[rank + 1]][0] if rank + 1 < len(ranked) else 10**6
        until = min(until or 10**6, following)
        length = sum(start <= moment < end for moment in range(first, min(until, 99)))
        if length and length >= longest:
            best, longest = place, length
    return best


@given(claims, st.randoms(use_true_random=False), times, st.integers(1, 20))
@example([(0, 0), (0, 0)], None, 0, 1)
def test_order_of_arrival_does_not_matter(spans, random, start, length):
    order = list(range(len(spans)))
    if random:
        random.shuffle(order)
    found = owner_in(make_claims(spans, order), start, start + length)
    assert found == expected_owner(spans, start, start + length)
