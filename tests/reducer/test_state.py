from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ebpf_net.reducer.memory import Ends, Learned, Memory, known_keys, no_ends
from ebpf_net.reducer.reference import References
from ebpf_net.reducer.rows import make_rows
from ebpf_net.reducer.state import State, read_state, write_state
from ebpf_net.testing.tables import client_row, make_table


def make_state() -> State:
    near = np.array([3, 1, 2], np.int64)
    usable = np.ones(3, bool)
    named = known_keys(near, near + 100, Ends(near, near, near), usable)
    bare = known_keys(near, near + 100, no_ends(), usable)
    memory = Memory(forgotten=4)
    memory.learn(7, Learned(named, bare, named))
    held = make_rows(
        make_table("edges", [client_row("10.0.0.1", "10.0.0.2", 80, bytes_sent=5)]),
        make_table("edge_samples", [{"edge": 0, "kind": 1, "count": 1}]),
        source=-1,
        boot=2,
    )
    return State({"window_ns": 1}, References().tables, held, memory)


def test_state_is_what_was_written():
    state = make_state()
    read = read_state(write_state(state), max_keys=10)
    assert read.values == {"window_ns": 1}
    assert read.tables == state.tables
    assert read.held.edges == state.held.edges
    assert read.held.samples == state.held.samples
    assert read.held.source.tolist() == [-1]
    assert (read.memory.max_keys, read.memory.forgotten) == (10, 4)
    for name in ("clients", "stood_in", "endpoints"):
        (one,), (other,) = getattr(read.memory, name)[7], getattr(state.memory, name)[7]
        assert one.near.tolist() == other.near.tolist()
        assert one.far_index.tolist() == other.far_index.tolist()
        assert one.ends.process.tolist() == other.ends.process.tolist()


WRITTEN = write_state(make_state())


@given(st.binary())
@example(b"PK\x05\x06" + bytes(18))
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError, match="not a state of the reducer"):
        read_state(data, max_keys=10)


@given(st.integers(0, len(WRITTEN) - 1))
def test_half_a_state_is_refused(length):
    with pytest.raises(ValueError, match="not a state of the reducer"):
        read_state(WRITTEN[:length], max_keys=10)


def test_state_without_watched_addresses_is_read():
    with np.load(io.BytesIO(write_state(make_state()))) as archive:
        kept = {name: archive[name] for name in archive if "watched" not in name}
    buffer = io.BytesIO()
    np.savez(buffer, **kept)
    read = read_state(buffer.getvalue(), max_keys=10)
    assert len(read.watched) == 0
    assert len(read.memory) == 9
