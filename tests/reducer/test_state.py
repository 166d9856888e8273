from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ebpf_net.reducer.memory import (
    MEMORY_FIELDS,
    RECENT_WINDOWS,
    Ends,
    Learned,
    Memory,
    known_keys,
    no_ends,
)
from ebpf_net.reducer.reference import References
from ebpf_net.reducer.rows import make_rows, no_rows
from ebpf_net.reducer.state import State, StateWriter, read_state
from ebpf_net.reducer.state_records import decode_records
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
    read = read_state(StateWriter().write(state, whole=True), max_keys=10)
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


WRITTEN = StateWriter().write(make_state(), whole=True)


@given(st.binary())
@example(b"PK\x05\x06" + bytes(18))
@example(b"\x02\0\0\0\0\0\0\0[]")
@example(b"\xff" * 8)
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError, match="not a state of the reducer"):
        read_state(data, max_keys=10)


@given(st.integers(0, len(WRITTEN) - 1))
def test_half_a_state_is_refused(length):
    with pytest.raises(ValueError, match="not a state of the reducer"):
        read_state(WRITTEN[:length], max_keys=10)


def former_state() -> bytes:
    """The archive that version 1 was: without watched addresses."""
    state = make_state()
    (record,) = decode_records(StateWriter().write(state, whole=True))
    header = {
        "version": 1,
        "tables": list(state.tables),
        "memory": {name: [[7, 1]] for name in MEMORY_FIELDS},
        "forgotten": 4,
        "values": state.values,
    }
    arrays = {
        name: array
        for name, array in record.arrays.items()
        if not name.startswith("watched")
    }
    for name in ("source", "process", "cgroup"):
        arrays[f"stood_in.7.0.{name}"] = np.empty(0, np.int64)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_state_of_the_former_version_is_read():
    read = read_state(former_state(), max_keys=10)
    state = make_state()
    assert read.values == state.values
    assert read.tables == state.tables
    assert read.held.edges == state.held.edges
    assert everything(read.memory) == everything(state.memory)
    assert len(read.watched) == 0


def everything(memory: Memory) -> dict:
    """All that is known, by window and kind."""
    return {
        (number, name): [
            [one.tolist() for one in (known.near, known.far, known.ends.source)]
            for known in getattr(memory, name)[number]
        ]
        for name in MEMORY_FIELDS
        for number in getattr(memory, name)
    }


def learned(*values: int) -> Learned:
    near = np.array(values, np.int64)
    usable = np.ones(len(near), bool)
    named = known_keys(near, near + 100, Ends(near, near, near), usable)
    return Learned(named, known_keys(near, near, no_ends(), usable), named)


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sets(st.integers(0, 9)), st.booleans()),
        min_size=1,
    )
)
def test_all_records_together_are_the_state(windows):
    state, writer, written, newest = make_state(), StateWriter(), b"", 7
    for number, values, ends in windows:
        state.memory.learn(number, learned(*values))
        newest = max(newest, number)
        state.memory.forget(newest, newest - 9)
        if ends:
            state.held = no_rows()
            state.tables = {**state.tables, "cgroups": state.tables["cgroups"][:0]}
        written += writer.write(state, whole=False)
    read = read_state(written, max_keys=10)
    assert everything(read.memory) == everything(state.memory)
    assert len(read.memory) == len(state.memory)
    assert read.held.edges == state.held.edges
    assert read.tables == state.tables


def test_what_a_window_adds_does_not_grow_with_those_before():
    state, writer = make_state(), StateWriter()
    lengths = []
    for number in range(100, 1000):
        state.memory.learn(number, learned(1, 2, 3))
        state.memory.forget(number, 0)
        lengths.append(len(writer.write(state, whole=False)))
    assert len(set(lengths[RECENT_WINDOWS + 2 :])) == 1
    assert lengths[-1] < lengths[0] / 4  # the first one has the tables


def test_newest_windows_are_kept():
    for max_keys, kept in ((16, range(12, 20)), (0, range(19 - RECENT_WINDOWS, 20))):
        state, writer, written = make_state(), StateWriter(max_keys), b""
        state.memory = Memory()
        for number in range(20):
            nobody = learned()
            state.memory.learn(number, replace(nobody, clients=learned(1, 2).clients))
            written += writer.write(state, whole=False)
        for one in (written, writer.write(state, whole=True)):
            assert sorted(read_state(one, 1).memory.clients) == list(kept)
