import numpy as np

from ebpf_net.reducer.ends import (
    PLACE_COLUMNS,
    READS,
    About,
    Detail,
    encode,
    nothing_found,
    places_of,
)
from ebpf_net.reducer.places import Place


def test_each_kind_of_place_is_known_of_ends():
    assert len(PLACE_COLUMNS) == len(Place) - 1
    assert set(PLACE_COLUMNS) <= set(READS)


def test_places_are_those_of_the_chosen_ends():
    found = nothing_found(3, About.ADDRESS)
    found |= {"cluster": np.array([4, 5, 6]), "vpc": np.array([7, 8, 9])}
    places = [place.tolist() for place in places_of(found, np.array([2, 0]))]
    assert places == [[6, 4], [9, 7]]


def test_nothing_is_known_at_first():
    found = nothing_found(2, About.DNS)
    assert set(found) == {"about", "high", "low", *READS}
    assert found["about"].tolist() == [About.DNS] * 2
    assert all((found[name] == -1).all() for name in READS)


def test_single_ends_need_more_columns():
    read = READS["pod"]
    assert read.chosen(Detail(addresses=False)) == read.columns
    assert "name" in read.chosen(Detail(addresses=True))


def test_codes_are_dense_and_of_the_first_row():
    codes, first = encode(np.array([7, 5, 7, 9, 5]))
    assert codes.tolist() == [0, 1, 0, 2, 1]
    assert first.tolist() == [0, 1, 3]
