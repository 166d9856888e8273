import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf_net.exporters.edge_blocks import (
    BLOCK_ROWS,
    cut_blocks,
    histogram_values,
    number_values,
    reason_name,
    reason_values,
    window_series,
)
from ebpf_net.metrics import METRICS
from ebpf_net.schema import Drop, Protocol, Sample
from ebpf_net.testing.windows import (
    START_NS,
    make_large_level,
    make_level,
    make_window,
)

BY_NAME = {metric.name: metric for metric in METRICS}
TCP, UDP = int(Protocol.TCP), int(Protocol.UDP)


def blocks_of(level):
    return list(cut_blocks(window_series(make_window({"id_id": level}))))


def test_protocols_have_their_own_blocks():
    level = make_level(
        [{}],
        [
            {"bytes": 1, "protocol": UDP},
            {"bytes": 2},
            {"bytes": 3, "protocol": UDP},
        ],
    )
    tcp, udp = blocks_of(level)
    assert (tcp.level_name, tcp.protocol) == ("id_id", Protocol.TCP)
    assert tcp.column("bytes").tolist() == [2]
    assert udp.protocol == Protocol.UDP
    assert udp.column("bytes").tolist() == [1, 3]
    assert udp.series.start_ns.tolist() == [START_NS] * 3


def test_large_level_is_cut():
    level = make_large_level(150, BLOCK_ROWS + 5, samples_each=1)
    first, second = blocks_of(level)
    assert (len(first.rows), len(second.rows)) == (BLOCK_ROWS, 5)
    samples = second.samples(Sample.RTT)
    assert samples.rows.tolist() == [0, 1, 2, 3, 4]
    assert samples.counts.tolist() == [3] * 5


def test_samples_keep_to_their_kind_and_block():
    level = make_level(
        [{}],
        [{}, {"protocol": UDP}, {}],
        [
            (0, Sample.RTT, 5, 1),
            (1, Sample.DROP, Drop.MEMORY, 4),
            (2, Sample.RTT, 6, 2),
            (2, Sample.RTT, 7, 0),
            (2, Sample.CONNECT_DURATION, 8, 3),
        ],
    )
    tcp, udp = blocks_of(level)
    samples = tcp.samples(Sample.RTT)
    assert samples.rows.tolist() == [0, 1]
    assert samples.buckets.tolist() == [5, 6]
    assert samples.counts.tolist() == [1, 2]
    drops = reason_values(udp, BY_NAME["udp.drops"])
    assert (drops.rows.tolist(), drops.buckets.tolist()) == ([0], [2])


def test_metric_without_samples_has_no_reasons():
    (block,) = blocks_of(make_level([{}], [{}]))
    with pytest.raises(ValueError, match=r"tcp\.bytes has no samples"):
        reason_values(block, BY_NAME["tcp.bytes"])


def test_reason_that_the_catalogue_does_not_know_is_its_number():
    assert reason_name(BY_NAME["udp.drops"], Drop.CHECKSUM) == "checksum"
    assert reason_name(BY_NAME["udp.drops"], 99) == "99"


def test_average_is_of_rows_with_a_measurement():
    level = make_level([{}], [{"rtt_sum_us": 5}, {"rtt_sum_us": 7, "rtt_count": 2}])
    (block,) = blocks_of(level)
    numbers = number_values(block, BY_NAME["tcp.rtt.average"])
    assert numbers.rows.tolist() == [1]
    assert numbers.values.tolist() == [3.5]
    assert number_values(block, BY_NAME["tcp.bytes"]).rows is None


def test_histogram_of_each_row_lies_from_start_to_start():
    level = make_level(
        [{}],
        [
            {"rtt_count": 3, "rtt_sum_us": 500_000, "rtt_max_us": 90},
            {},
            {"rtt_count": 1},
            {"rtt_count": 2},
        ],
        [(0, Sample.RTT, -1, 1), (0, Sample.RTT, 1, 2), (3, Sample.RTT, 4, 2)],
    )
    (block,) = blocks_of(level)
    found = histogram_values(block, BY_NAME["tcp.rtt"])
    assert found.rows.tolist() == [0, 2, 3]
    assert found.counts.tolist() == [3, 1, 2]
    assert found.zero_counts.tolist() == [0, 1, 0]
    assert found.sums_seconds.tolist() == [0.5, 0, 0]
    assert found.offsets.tolist() == [-1, 0, 4]
    assert found.starts.tolist() == [0, 3, 3, 4]
    assert found.bucket_counts.tolist() == [1, 0, 2, 2]
    assert found.maximum_seconds.tolist() == [90e-6, 0, 0]


@settings(deadline=None, max_examples=50)
@given(st.sets(st.integers(-(2**15), 2**15 - 1), max_size=5))
def test_no_bucket_number_makes_a_histogram_large(buckets):
    samples = [(0, Sample.RTT, bucket, 1) for bucket in buckets]
    (block,) = blocks_of(make_level([{}], [{}], samples))
    found = histogram_values(block, BY_NAME["tcp.rtt"])
    assert found.counts.tolist() == ([len(buckets)] if buckets else [])
    assert found.bucket_counts.sum() == len(buckets)
    assert len(found.bucket_counts) <= 256
