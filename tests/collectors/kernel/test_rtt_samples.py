import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.kernel.rtt_samples import RttFacts, RttSamples


def add(samples, rows, final=False):
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    sockets, times, srtt = columns
    facts = RttFacts(
        np.arange(sockets.size),
        sockets.astype(np.uint64),
        times,
        srtt,
        np.full(sockets.size, final),
    )
    rows, srtt_us = samples.add(sockets * 10, facts)
    return sorted(zip(rows.tolist(), srtt_us.tolist(), strict=True))


def latest(samples):
    rows, srtt_us = samples.latest()
    return sorted(zip(rows.tolist(), srtt_us.tolist(), strict=True))


def test_without_samples_there_is_nothing():
    assert latest(RttSamples()) == []


def test_the_latest_sample_of_each_socket_is_left():
    samples = RttSamples()
    add(samples, [(1, 5, 100), (2, 1, 7), (1, 9, 300)])
    add(samples, [(1, 8, 200), (3, 1, 8)])
    assert latest(samples) == [(10, 300), (20, 7), (30, 8)]


def test_a_final_sample_counts_at_once_and_alone():
    samples = RttSamples()
    assert add(samples, [(1, 5, 100), (2, 5, 200)]) == []
    assert add(samples, [(1, 6, 150), (3, 6, 300)], final=True) == [
        (10, 150),
        (30, 300),
    ]
    assert latest(samples) == [(20, 200)]


SAMPLES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 9)))


@given(st.lists(SAMPLES, max_size=4))
def test_it_is_what_a_dictionary_would_hold(batches):
    samples, expected = RttSamples(), {}
    for batch in batches:
        add(samples, batch)
        for socket, time_ns, srtt_us in batch:
            known = expected.get(socket, (0, 0))
            expected[socket] = max(known, (time_ns, srtt_us))
    assert latest(samples) == sorted(
        (socket * 10, srtt_us) for socket, (_, srtt_us) in expected.items()
    )
