import numpy as np
import pyarrow as pa
import pytest

from ebpf_net.testing.windows import make_level
from ebpf_net.zones import Zones, distinct_texts, text_codes

ZONE, ZONE_ID = "availability_zone", "cloud.zone.id"
UNKNOWN, DIFFERENT, SAME = 0, 1, 2


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({ZONE: "a"}, {ZONE: "a"}, SAME),
        ({ZONE: "a"}, {ZONE: "b"}, DIFFERENT),
        ({ZONE: "a"}, {}, UNKNOWN),
        ({ZONE: "a", ZONE_ID: "1"}, {ZONE: "b", ZONE_ID: "1"}, SAME),
        ({ZONE: "a", ZONE_ID: "1"}, {ZONE: "a", ZONE_ID: "2"}, DIFFERENT),
        ({ZONE: "a", "region": "r"}, {ZONE: "a", "region": "s"}, DIFFERENT),
        ({ZONE: "a", "region": "r"}, {ZONE: "a"}, SAME),
    ],
)
def test_zones_are_compared_both_ways_alike(one, other, expected):
    zones = Zones(make_level([one, other], []).nodes)
    ends = np.array([0, 1], np.int32)
    assert zones.compare(ends, ends[::-1]).tolist() == [expected, expected]


def test_codes_are_the_same_for_the_same_text_and_none_for_an_empty_one():
    one, empty, again, other = text_codes(pa.chunked_array([["a", "", "a"], ["b"]]))
    assert empty == -1
    assert one == again
    assert len({one, empty, other}) == 3


def test_column_without_texts_has_no_codes():
    assert text_codes(pa.array([], pa.string())).tolist() == []
    codes, texts = distinct_texts(pa.array([], pa.string()))
    assert (codes.tolist(), texts.to_pylist()) == ([], [])
