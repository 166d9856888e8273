import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.schema import Protocol
from ebpf_net.testing.windows import make_large_level, make_level
from ebpf_net.ui.pairs import join_directions, turn

A, B, C = (
    {"process.name": "a", "ip": "10.0.0.1"},
    {"process.name": "b", "ip": "10.0.0.2"},
    {"ip": "10.0.0.3"},
)


def names(pairs, side):
    addresses = pairs.nodes["ip"].to_pylist()
    return [addresses[row][-1] for row in side]


def test_both_directions_become_one_row():
    edges = [
        {"source": 0, "dest": 1, "bytes": 5, "packets": 2, "retransmits": 1,
         "resets": 1, "syn_timeouts": 1, "opened": 3, "open": 2, "connect_count": 3,
         "connect_sum_us": 30, "rtt_count": 1, "rtt_sum_us": 100, "rtt_min_us": 90},
        {"source": 1, "dest": 0, "bytes": 70, "packets": 4, "retransmits": 2,
         "resets": 2, "syn_timeouts": 2, "opened": 3, "open": 1, "drops": 4,
         "rtt_count": 2, "rtt_sum_us": 140, "rtt_min_us": 60},
    ]  # fmt: skip
    pairs = join_directions([make_level([A, B], edges)])
    assert len(pairs) == 1
    assert (names(pairs, pairs.left), names(pairs, pairs.right)) == (["1"], ["2"])
    assert (pairs.bytes_out[0], pairs.bytes_in[0], pairs.bytes[0]) == (5, 70, 75)
    assert (pairs.packets_out[0], pairs.packets_in[0]) == (2, 4)
    assert (pairs.retransmits[0], pairs.resets[0], pairs.syn_timeouts[0]) == (3, 3, 3)
    assert (pairs.opened[0], pairs.open[0], pairs.drops[0]) == (3, 2, 4)
    assert (pairs.rtt_us[0], pairs.rtt_min_us[0]) == (80.0, 60)
    assert (pairs.connect_count[0], pairs.connect_sum_us[0]) == (3, 30)


def test_the_end_that_connects_is_left():
    edges = [
        {"source": 0, "dest": 1, "bytes": 5},
        {"source": 1, "dest": 0, "bytes": 70, "connect_count": 1},
    ]
    pairs = join_directions([make_level([A, B], edges)])
    assert names(pairs, pairs.left) == ["2"]
    assert (pairs.bytes_out[0], pairs.bytes_in[0], pairs.clients[0]) == (70, 5, 1)


def test_an_end_that_only_tried_to_connect_is_left():
    edges = [{"source": 1, "dest": 0, "connect_failures": 2}]
    pairs = join_directions([make_level([A, B], edges)])
    assert names(pairs, pairs.left) == ["2"]
    assert pairs.failures.tolist() == [2]


@pytest.mark.parametrize(("source", "dest"), [(0, 1), (1, 0)])
def test_where_no_connect_was_seen_the_known_process_is_left(source, dest):
    edges = [{"source": source, "dest": dest, "bytes": 1}]
    pairs = join_directions([make_level([C, A], edges)])
    assert names(pairs, pairs.left) == ["1"]
    assert pairs.clients.tolist() == [0]


@pytest.mark.parametrize("nodes", [(A, B), (B, A)])
def test_where_nothing_tells_the_ends_apart_their_names_do(nodes):
    pairs = join_directions([make_level(nodes, [{"source": 0, "dest": 1}])])
    assert names(pairs, pairs.left) == ["1"]


def test_protocols_are_pairs_of_their_own():
    edges = [
        {"source": 0, "dest": 1, "bytes": 1},
        {"source": 1, "dest": 0, "bytes": 2, "protocol": int(Protocol.UDP)},
    ]
    pairs = join_directions([make_level([A, B], edges)])
    assert pairs.protocol.tolist() == [6, 17]
    assert pairs.bytes.tolist() == [1, 2]


def test_an_end_that_talks_to_itself_is_one_pair():
    edges = [{"source": 0, "dest": 0, "bytes": 9, "opened": 6, "open": 4}]
    pairs = join_directions([make_level([A], edges)])
    assert (pairs.left[0], pairs.right[0], pairs.bytes[0]) == (0, 0, 9)
    assert (pairs.opened[0], pairs.open[0]) == (3, 2)


def test_parts_of_a_window_add_up_whatever_their_row_numbers():
    first = make_level([A, B], [{"source": 0, "dest": 1, "bytes": 1, "open": 1}])
    late = make_level(
        [C, B, A],
        [
            {"source": 2, "dest": 1, "bytes": 10, "open": 2},
            {"source": 0, "dest": 1, "bytes": 7},
        ],
    )
    pairs = join_directions([first, late])
    assert sorted(names(pairs, pairs.left)) == ["1", "2"]
    assert sorted(names(pairs, pairs.right)) == ["2", "3"]
    assert sorted(pairs.bytes.tolist()) == [7, 11]
    assert pairs.nodes.num_rows == 3
    assert sorted(pairs.open.tolist()) == [0, 3]


def test_an_empty_window_has_no_pairs():
    pairs = join_directions([make_level([], [])])
    assert len(pairs) == 0
    assert pairs.bytes.tolist() == []


def test_sums_above_the_exact_range_of_floats_stay_exact():
    edges = [{"source": 0, "dest": 1, "bytes": 2**53 + 1}]
    pairs = join_directions([make_level([A, B], edges)])
    assert pairs.bytes.tolist() == [2**53 + 1]


@given(st.integers(0, 2**16))
def test_totals_do_not_depend_on_the_order_of_edges(seed):
    level = make_large_level(20, 60)
    order = np.random.default_rng(seed).permutation(60)
    mixed = type(level)(level.nodes, level.edges.take(order), level.samples)
    one, other = join_directions([level]), join_directions([mixed])
    assert one.bytes.tolist() == other.bytes.tolist()
    assert one.left.tolist() == other.left.tolist()
    assert one.rtt_sum_us.sum() == level.edges["rtt_sum_us"].to_numpy().sum()


def test_turning_exchanges_all_that_has_a_direction():
    edges = [
        {"source": 0, "dest": 1, "bytes": 5, "packets": 2, "connect_count": 1},
        {"source": 1, "dest": 0, "bytes": 70, "packets": 4},
    ]
    pairs = join_directions([make_level([A, B], edges)])
    turned = turn(pairs, np.array([True]))
    assert (turned.left[0], turned.right[0]) == (pairs.right[0], pairs.left[0])
    assert (turned.bytes_out[0], turned.bytes_in[0]) == (70, 5)
    assert (turned.packets_out[0], turned.packets_in[0]) == (4, 2)
    assert turned.clients[0] == -1
    assert turned.bytes[0] == pairs.bytes[0]
