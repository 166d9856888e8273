from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from ebpf_net.collectors.kernel.sample_counts import (
    SampleCounts,
    duration_buckets,
    sample_codes,
)
from ebpf_net.schema import Sample


@given(st.integers(1, 2**32 - 1))
@example(1_000_000)
@example(1_000_001)
@example(500_000)
@example(15_625)
@example(1)
@example(2**32 - 1)
def test_a_duration_is_in_the_bucket_whose_bounds_hold_it(duration_us):
    (bucket,) = duration_buckets(np.array([duration_us])).tolist()
    fourth_power = Fraction(duration_us, 10**6) ** 4
    assert Fraction(2) ** bucket < fourth_power <= Fraction(2) ** (bucket + 1)


def test_buckets_at_known_durations():
    durations = np.array([1_000_000, 1_000_001, 2_000_000, 1000, 1])
    assert duration_buckets(durations).tolist() == [-1, 0, 3, -40, -80]


def test_counts_add_up_and_are_sorted():
    counts = SampleCounts()
    rtt = sample_codes(Sample.RTT, np.array([-5, -5, 3]))
    counts.add(np.array([2, 2, 0]), rtt)
    counts.add(
        np.array([2]), sample_codes(Sample.DROP, np.array([1])), np.array([1000])
    )
    counts.add(np.array([2]), rtt[:1])
    table = counts.columns()
    assert table["edge"].tolist() == [0, 2, 2]
    assert table["kind"].tolist() == [Sample.RTT, Sample.RTT, Sample.DROP]
    assert table["bucket"].tolist() == [3, -5, 1]
    assert table["count"].tolist() == [1, 3, 1000]


def test_many_samples_are_counted_exactly():
    counts = SampleCounts()
    codes = sample_codes(Sample.RTT, np.arange(-10, 10))
    for _ in range(5000):
        counts.add(np.zeros(20, np.int64), codes)
    assert counts.columns()["count"].tolist() == [5000] * 20
