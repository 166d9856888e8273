"""The reducer's state as bytes, so that a restart between two windows loses nothing.

The first record has all of it, those that follow what has changed since: the cost of a
window does not depend on how many windows are remembered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ebpf_net.reducer.keys import Int64
from ebpf_net.reducer.memory import (
    MEMORY_FIELDS,
    RECENT_WINDOWS,
    Ends,
    KnownKeys,
    Memory,
    no_ends,
)
from ebpf_net.reducer.rows import Rows
from ebpf_net.reducer.state_records import (
    Arrays,
    StateRecord,
    decode_records,
    encode_record,
)
from ebpf_net.reducer.watched import Watched

VERSION = 2
_READABLE = (1, VERSION)
MAX_STATE_KEYS = 500_000
"""How many edges are kept; what is late by more may count twice after a restart."""

_KEY_FIELDS = ("near", "far", "far_index")
_END_FIELDS = ("source", "process", "cgroup")


@dataclass
class State:
    """What is kept: plain values, tables by name, held rows, memory and addresses."""

    values: Mapping[str, object]
    tables: Mapping[str, pa.Table]
    held: Rows
    memory: Memory = field(default_factory=Memory)
    watched: Watched = field(default_factory=Watched)


class StateWriter:
    """Makes records, and knows what the former ones have told. Not thread-safe."""

    def __init__(self, max_keys: int = MAX_STATE_KEYS) -> None:
        self._max_keys = max_keys
        self._has_begun = False
        self._told: dict[str, object] = {}  # what an array was made of
        self._sizes: dict[int, int] = {}  # keys of the windows that were told
        self._size = 0

    def write(self, state: State, *, whole: bool) -> bytes:
        """Return a record of all, or of what has changed since the last one."""
        whole = whole or not self._has_begun
        changed = state.memory.take_changed()
        if whole:
            self._has_begun = True
            self._told, self._sizes, self._size = {}, {}, 0
            changed = set(state.memory.sizes)
        gone, told = self._choose_windows(changed, state.memory.sizes)
        arrays = self._tables(state.tables) | self._rows(state.held)
        arrays |= self._addresses(state.watched)
        for number in told:
            arrays |= _window_arrays(state.memory, number)
        header = {
            "version": VERSION,
            "whole": whole,
            "gone": gone,
            "forgotten": state.memory.forgotten,
            "values": state.values,
        }
        return encode_record(StateRecord(header, arrays))

    def _choose_windows(
        self, changed: set[int], sizes: Mapping[int, int]
    ) -> tuple[list[int], list[int]]:
        """Return the windows of which former records do not hold, and those to tell.

        Of all there are as many of the newest as have max_keys, and the recent ones.
        """
        gone = changed & self._sizes.keys()
        for number in changed:
            size = sizes.get(number, 0)
            self._size += size - self._sizes.pop(number, 0)
            if size:
                self._sizes[number] = size
        if self._size > self._max_keys:
            for number in sorted(self._sizes)[: -RECENT_WINDOWS - 1]:
                self._size -= self._sizes.pop(number)
                gone.add(number)
                if self._size <= self._max_keys:
                    break
        return sorted(gone), sorted(changed & self._sizes.keys())

    def _tables(self, tables: Mapping[str, pa.Table]) -> Arrays:
        return {
            f"table.{name}": _table_to_array(table)
            for name, table in tables.items()
            if self._is_new(f"table.{name}", table)
        }

    def _rows(self, held: Rows) -> Arrays:
        if not self._is_new("held", held if len(held) else None):
            return {}
        return {
            "held.edges": _table_to_array(held.edges),
            "held.samples": _table_to_array(held.samples),
            "held.source": held.source,
            "held.boot": held.boot,
        }

    def _addresses(self, watched: Watched) -> Arrays:
        arrays = watched.to_arrays()
        if not self._is_new("watched", arrays["last"]):
            return {}
        return {f"watched.{name}": array for name, array in arrays.items()}

    def _is_new(self, name: str, made_of: object) -> bool:
        """Tell whether this is not what the last record has told."""
        if name in self._told and self._told[name] is made_of:
            return False
        self._told[name] = made_of
        return True


def read_state(data: bytes, max_keys: int) -> State:
    """Read records, one after the other. Raises ValueError if they are not that."""
    try:
        draft = _Draft()
        for record in decode_records(data):
            draft.take(record)
        return draft.state(max_keys)
    except (ValueError, KeyError, TypeError, AttributeError) as bad:
        raise ValueError(f"not a state of the reducer: {bad}") from bad


@dataclass
class _Draft:
    """What the records so far have told."""

    header: Mapping[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)
    windows: dict[int, Arrays] = field(default_factory=dict)

    def take(self, record: StateRecord) -> None:
        header = self.header = record.header
        if header["version"] not in _READABLE:
            raise ValueError(
                f"state has version {header['version']}, expected {VERSION}"
            )
        if header["version"] < VERSION or header["whole"]:
            self.arrays, self.windows = {}, {}
        for number in header.get("gone", ()):
            self.windows.pop(number, None)
        for name, array in record.arrays.items():
            kind, _, rest = name.partition(".")
            if kind in MEMORY_FIELDS:
                number = int(rest.partition(".")[0])
                self.windows.setdefault(number, {})[name] = array
            else:
                self.arrays[name] = array

    def state(self, max_keys: int) -> State:
        memory = Memory(max_keys, self.header["forgotten"])
        for number, arrays in self.windows.items():
            _read_window(memory, number, arrays)
        tables = {
            name.removeprefix("table."): _table_from_array(array)
            for name, array in self.arrays.items()
            if name.startswith("table.")
        }
        held = Rows(
            _table_from_array(self.arrays["held.edges"]),
            _table_from_array(self.arrays["held.samples"]),
            self.arrays["held.source"].astype(np.int64),
            self.arrays["held.boot"].astype(np.int64),
        )
        watched = _read_watched(self.arrays)
        return State(self.header["values"], tables, held, memory, watched)


def _read_watched(arrays: Arrays) -> Watched:
    """Read the addresses that are watched; a state of before has none."""
    watched = Watched()
    names = {name: f"watched.{name}" for name in watched.to_arrays()}
    if any(name in arrays for name in names.values()):
        watched.from_arrays({name: arrays[place] for name, place in names.items()})
    return watched


def _window_arrays(memory: Memory, number: int) -> Arrays:
    """Return what is known of a window; of no ends, no arrays."""
    return {
        f"{name}.{number}.{place}.{key}": array
        for name in MEMORY_FIELDS
        for place, known in enumerate(getattr(memory, name).get(number, ()))
        for key, array in _known_arrays(known)
    }


def _known_arrays(known: KnownKeys) -> Iterator[tuple[str, Int64]]:
    for name in _KEY_FIELDS:
        yield name, getattr(known, name)
    if len(known.ends):
        for name in _END_FIELDS:
            yield name, getattr(known.ends, name)


def _read_window(memory: Memory, number: int, arrays: Arrays) -> None:
    for name in MEMORY_FIELDS:
        place = 0
        while f"{name}.{number}.{place}.near" in arrays:
            memory.put(name, number, _read_known(f"{name}.{number}.{place}", arrays))
            place += 1


def _read_known(prefix: str, arrays: Arrays) -> KnownKeys:
    near, far, far_index = (
        arrays[f"{prefix}.{name}"].astype(np.int64) for name in _KEY_FIELDS
    )
    if f"{prefix}.{_END_FIELDS[0]}" not in arrays:
        return KnownKeys(near, far, far_index, no_ends())
    ends = Ends(*(arrays[f"{prefix}.{name}"].astype(np.int64) for name in _END_FIELDS))
    return KnownKeys(near, far, far_index, ends)


def _table_to_array(table: pa.Table) -> NDArray[np.generic]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    array: NDArray[np.generic] = np.frombuffer(sink.getvalue().to_pybytes(), np.uint8)
    return array


def _table_from_array(data: NDArray[np.generic]) -> pa.Table:
    with pa.ipc.open_stream(data.tobytes()) as reader:
        return reader.read_all()
