"""The reducer's state as bytes, so that a restart between two windows loses nothing.

A NumPy archive: arrays as they are, Arrow tables as IPC streams, the rest as JSON.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ebpf_net.reducer.memory import Ends, KnownKeys, Memory
from ebpf_net.reducer.rows import Rows
from ebpf_net.reducer.watched import Watched

VERSION = 1

_Archive = dict[str, NDArray[np.generic]]
_KEY_FIELDS = ("near", "far", "far_index")
_END_FIELDS = ("source", "process", "cgroup")
_MEMORY_FIELDS = ("clients", "stood_in", "endpoints")


@dataclass
class State:
    """What is kept: plain values, tables by name, held rows, memory and addresses."""

    values: Mapping[str, object]
    tables: Mapping[str, pa.Table]
    held: Rows
    memory: Memory = field(default_factory=Memory)
    watched: Watched = field(default_factory=Watched)


def write_state(state: State) -> bytes:
    """Return the state as bytes."""
    header = {
        "version": VERSION,
        "tables": list(state.tables),
        "memory": {
            name: [
                [number, len(parts)]
                for number, parts in getattr(state.memory, name).items()
            ]
            for name in _MEMORY_FIELDS
        },
        "forgotten": state.memory.forgotten,
        "values": state.values,
    }
    archive: _Archive = {
        "header": _to_array(json.dumps(header).encode()),
        "held.edges": _table_to_array(state.held.edges),
        "held.samples": _table_to_array(state.held.samples),
        "held.source": state.held.source,
        "held.boot": state.held.boot,
    }
    for name, column in state.watched.to_arrays().items():
        archive[f"watched.{name}"] = column
    for name, table in state.tables.items():
        archive[f"table.{name}"] = _table_to_array(table)
    for name in _MEMORY_FIELDS:
        for number, parts in getattr(state.memory, name).items():
            for place, known in enumerate(parts):
                archive |= _known_to_arrays(f"{name}.{number}.{place}", known)
    buffer = io.BytesIO()
    np.savez(buffer, **archive)  # type: ignore[arg-type]  # names, not allow_pickle
    return buffer.getvalue()


def read_state(data: bytes, max_keys: int) -> State:
    """Read what write_state has written. Raises ValueError if it is not that."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return _read(archive, max_keys)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as bad:
        raise ValueError(f"not a state of the reducer: {bad}") from bad


def _read(archive: Mapping[str, NDArray[np.generic]], max_keys: int) -> State:
    header = json.loads(archive["header"].tobytes())
    if header["version"] != VERSION:
        raise ValueError(f"state has version {header['version']}, expected {VERSION}")
    memory = Memory(max_keys, header["forgotten"])
    for name in _MEMORY_FIELDS:
        windows = getattr(memory, name)
        for number, count in header["memory"][name]:
            windows[number] = [
                _known_from_arrays(f"{name}.{number}.{place}", archive)
                for place in range(count)
            ]
    held = Rows(
        _table_from_array(archive["held.edges"]),
        _table_from_array(archive["held.samples"]),
        archive["held.source"].astype(np.int64),
        archive["held.boot"].astype(np.int64),
    )
    tables = {
        name: _table_from_array(archive[f"table.{name}"]) for name in header["tables"]
    }
    return State(header["values"], tables, held, memory, _read_watched(archive))


def _read_watched(archive: Mapping[str, NDArray[np.generic]]) -> Watched:
    """Read the addresses that are watched; a state of before has none."""
    watched = Watched()
    names = {name: f"watched.{name}" for name in watched.to_arrays()}
    if any(name in archive for name in names.values()):
        watched.from_arrays({name: archive[place] for name, place in names.items()})
    return watched


def _known_to_arrays(prefix: str, known: KnownKeys) -> _Archive:
    return {
        **{f"{prefix}.{name}": getattr(known, name) for name in _KEY_FIELDS},
        **{f"{prefix}.{name}": getattr(known.ends, name) for name in _END_FIELDS},
    }


def _known_from_arrays(
    prefix: str, archive: Mapping[str, NDArray[np.generic]]
) -> KnownKeys:
    near, far, far_index, source, process, cgroup = (
        archive[f"{prefix}.{name}"].astype(np.int64)
        for name in (*_KEY_FIELDS, *_END_FIELDS)
    )
    return KnownKeys(near, far, far_index, Ends(source, process, cgroup))


def _to_array(data: bytes) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.frombuffer(data, np.uint8)
    return array


def _table_to_array(table: pa.Table) -> NDArray[np.generic]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return _to_array(sink.getvalue().to_pybytes())


def _table_from_array(data: NDArray[np.generic]) -> pa.Table:
    with pa.ipc.open_stream(data.tobytes()) as reader:
        return reader.read_all()
