"""Windows added up into counters that never fall, for each series of each level.

A series is (source, dest, protocol), where an end is its tuple of labels: row numbers
of nodes mean nothing beyond their window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ebpf_net.exporters.byte_columns import (
    ByteColumn,
    encode_numbers,
    join,
    lengths,
)
from ebpf_net.exporters.edge_blocks import Integers, LevelSeries
from ebpf_net.schema import (
    LEVEL_EDGES,
    LEVEL_SAMPLES,
    NODE_LABELS,
    Level,
    Protocol,
    Window,
)

_KEY_COLUMNS = ("source", "dest", "protocol")
# Limits that fit one window only are not added up; they stay 0, "unknown".
_WINDOW_COLUMNS = ("rtt_min_us", "rtt_max_us")
_TOTAL_COLUMNS = tuple(
    name for name, _ in LEVEL_EDGES if name not in _KEY_COLUMNS + _WINDOW_COLUMNS
)

# A series key is source << 36 | dest << 8 | protocol.
_NODE_BITS = 28
_PROTOCOL_BITS = 8
_MAX_NODES = 1 << _NODE_BITS
_UNUSED_NODES = 1024  # nodes of ended and overflowed series that may wait to be freed
_NODE_CHUNKS = 32
_OVERFLOW_NODE = 0  # no labels; the ids of nodes begin after it

# A sample key is slot << 24 | kind << 16 | (bucket + 32768).
_SLOT_SHIFT = 24
_KIND_SHIFT = 16
_BUCKET_BIAS = 1 << 15


class CumulativeState:
    """Totals of all levels; it holds at most ``series_limit`` series of each.

    A series over the limit is added to one overflow series of its level and protocol,
    so the sum over all series is exact while none ends. A series that is not in
    ``stale_windows`` windows one after another ends; if it comes back it starts anew.
    """

    def __init__(self, series_limit: int, stale_windows: int) -> None:
        self._series_limit = series_limit
        self._stale_windows = stale_windows
        self._latest_start_ns = 0
        self._levels: dict[str, _LevelState] = {}

    @property
    def overflowed(self) -> int:
        """Rows so far that were added to an overflow series."""
        return sum(level.overflowed for level in self._levels.values())

    @property
    def series(self) -> int:
        """Series held now."""
        return sum(level.series for level in self._levels.values())

    def add(self, window: Window) -> None:
        """Add a window's values; one that came late makes no series older."""
        is_next = window.start_ns > self._latest_start_ns
        self._latest_start_ns = max(self._latest_start_ns, window.start_ns)
        for name in window.levels.keys() - self._levels.keys():
            self._levels[name] = _LevelState(self._series_limit)
        for name, state in self._levels.items():
            state.age += is_next
            if name in window.levels:
                state.add(window.levels[name], window.start_ns)
            state.end_stale(self._stale_windows)

    def totals(self) -> dict[str, LevelSeries]:
        """Return a copy of the totals; ``open`` is a sum too, so no gauge any more."""
        return {name: level.totals() for name, level in self._levels.items()}


@dataclass
class _KeyIndex:
    """Finds the slot of a 64-bit key; slots count from 0 in order of arrival."""

    keys: Integers  # sorted
    slots: Integers  # of each key

    @classmethod
    def empty(cls) -> _KeyIndex:
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    def find(self, keys: Integers) -> Integers:
        """Return the slot of each key, -1 for one that is not there."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, self.slots[places], -1)

    def insert(self, keys: Integers) -> None:
        """Add distinct keys that are not there; they get the next slots."""
        order = np.argsort(keys)
        places = np.searchsorted(self.keys, keys[order])
        slots = len(self.keys) + order
        self.keys = np.insert(self.keys, places, keys[order])
        self.slots = np.insert(self.slots, places, slots)


class _LevelState:
    """Totals of one level. Slots of series and samples are rows of its arrays."""

    def __init__(self, series_limit: int) -> None:
        self._series_limit = series_limit
        self.age = 0  # in windows
        self.overflowed = 0
        self._node_ids: dict[bytes, int] = {}
        self._nodes = _no_nodes()  # row number: a node's id - 1
        self._index = _KeyIndex.empty()
        self._keys = np.empty(0, np.int64)
        self._values = np.empty((0, len(_TOTAL_COLUMNS)), np.int64)
        self._start_ns = np.empty(0, np.int64)
        self._last_age = np.empty(0, np.int64)
        self._sample_index = _KeyIndex.empty()
        self._sample_keys = np.empty(0, np.int64)
        self._sample_counts = np.empty(0, np.int64)

    @property
    def series(self) -> int:
        return len(self._keys)

    def add(self, level: Level, start_ns: int) -> None:
        """Add a window's edges and samples."""
        edges = level.edges
        if not edges.num_rows:
            return
        nodes = self._identify(level.nodes)
        source = nodes[edges.column("source").to_numpy()]
        dest = nodes[edges.column("dest").to_numpy()]
        protocols = edges.column("protocol").to_numpy().astype(np.int64)
        keys = _series_keys(source, dest, protocols)
        slots = self._slots(keys, protocols, start_ns)
        for position, name in enumerate(_TOTAL_COLUMNS):
            column = edges.column(name).to_numpy()
            np.add.at(self._values[:, position], slots, column)
        self._last_age[slots] = self.age
        self._add_samples(level.samples, slots)

    def end_stale(self, stale_windows: int) -> None:
        """Let go of series that were not seen for so many windows."""
        alive = self._last_age > self.age - stale_windows
        unused_nodes = len(self._node_ids) - 2 * self.series
        if not alive.all() or unused_nodes > _UNUSED_NODES:
            self._keep(np.flatnonzero(alive))

    def totals(self) -> LevelSeries:
        """Return a copy of the totals."""
        source = self._keys >> _NODE_BITS + _PROTOCOL_BITS
        dest = self._keys >> _PROTOCOL_BITS & _MAX_NODES - 1
        columns = {
            "source": source,
            "dest": dest,
            "protocol": self._keys & (1 << _PROTOCOL_BITS) - 1,
        }
        columns |= {
            name: self._values[:, position]
            for position, name in enumerate(_TOTAL_COLUMNS)
        }
        zeros = np.zeros(self.series, np.int64)
        edges = {
            name: pa.array(columns.get(name, zeros).astype(kind))
            for name, kind in LEVEL_EDGES
        }
        return LevelSeries(
            level=Level(
                nodes=pa.concat_tables([_overflow_node(), self._nodes]),
                edges=pa.table(edges),
                samples=self._sample_table(),
            ),
            start_ns=self._start_ns.copy(),
            overflow=source == _OVERFLOW_NODE,
        )

    def _identify(self, nodes: pa.Table) -> Integers:
        """Return the lasting id of each row of nodes."""
        labels = nodes.select(NODE_LABELS).cast(_no_nodes().schema)
        tuples = _label_tuples(labels)
        new_rows = []
        for row, key in enumerate(tuples):
            if key not in self._node_ids:
                self._node_ids[key] = len(self._node_ids) + 1
                new_rows.append(row)
        if new_rows:
            added = labels.take(pa.array(new_rows))
            self._nodes = pa.concat_tables([self._nodes, added])
            if self._nodes.column(0).num_chunks > _NODE_CHUNKS:
                self._nodes = self._nodes.combine_chunks()
        return np.fromiter(map(self._node_ids.__getitem__, tuples), np.int64)

    def _slots(self, keys: Integers, protocols: Integers, start_ns: int) -> Integers:
        """Return the slot of each key, with new ones for new series up to the limit."""
        slots = self._index.find(keys)
        new = np.unique(keys[slots < 0])
        own = self._index.find(_overflow_keys())
        room = max(self._series_limit - self.series + int((own >= 0).sum()), 0)
        self._append(new[:room], start_ns)
        if len(new) <= room:
            return self._index.find(keys)
        over = protocols  # the key of two overflow nodes
        slots = self._index.find(keys)
        needed = np.unique(over[slots < 0])
        self._append(needed[self._index.find(needed) < 0], start_ns)
        self.overflowed += int((slots < 0).sum())
        return np.where(slots < 0, self._index.find(over), slots)

    def _append(self, keys: Integers, start_ns: int) -> None:
        count = len(keys)
        if not count:
            return
        self._index.insert(keys)
        self._keys = np.append(self._keys, keys)
        empty = np.zeros((count, len(_TOTAL_COLUMNS)), np.int64)
        self._values = np.concatenate([self._values, empty])
        self._start_ns = np.append(self._start_ns, np.full(count, start_ns))
        self._last_age = np.append(self._last_age, np.zeros(count, np.int64))

    def _add_samples(self, samples: pa.Table, slots: Integers) -> None:
        edges = samples.column("edge").to_numpy()
        kinds = samples.column("kind").to_numpy().astype(np.int64)
        buckets = samples.column("bucket").to_numpy().astype(np.int64) + _BUCKET_BIAS
        keys = slots[edges] << _SLOT_SHIFT | kinds << _KIND_SHIFT | buckets
        places = self._sample_index.find(keys)
        new = np.unique(keys[places < 0])
        if len(new):
            self._sample_index.insert(new)
            self._sample_keys = np.append(self._sample_keys, new)
            zeros = np.zeros(len(new), np.int64)
            self._sample_counts = np.append(self._sample_counts, zeros)
            places = self._sample_index.find(keys)
        np.add.at(self._sample_counts, places, samples.column("count").to_numpy())

    def _sample_table(self) -> pa.Table:
        order = self._sample_index.slots
        keys = self._sample_keys[order]
        columns = {
            "edge": keys >> _SLOT_SHIFT,
            "count": self._sample_counts[order],
            "bucket": (keys & (1 << _KIND_SHIFT) - 1) - _BUCKET_BIAS,
            "kind": keys >> _KIND_SHIFT & 0xFF,
        }
        return pa.table(
            {name: columns[name].astype(kind) for name, kind in LEVEL_SAMPLES}
        )

    def _keep(self, slots: Integers) -> None:
        """Keep these series, with their nodes and samples, under new slots and ids."""
        new_slots = np.full(self.series, -1)
        new_slots[slots] = np.arange(len(slots))
        self._values = self._values[slots]
        self._start_ns = self._start_ns[slots]
        self._last_age = self._last_age[slots]
        self._keep_nodes(self._keys[slots])
        owners = new_slots[self._sample_keys >> _SLOT_SHIFT]
        kept = np.flatnonzero(owners >= 0)
        rest = self._sample_keys[kept] & (1 << _SLOT_SHIFT) - 1
        self._sample_keys = owners[kept] << _SLOT_SHIFT | rest
        self._sample_counts = self._sample_counts[kept]
        self._sample_index = _KeyIndex.empty()
        self._sample_index.insert(self._sample_keys)

    def _keep_nodes(self, keys: Integers) -> None:
        source = keys >> _NODE_BITS + _PROTOCOL_BITS
        dest = keys >> _PROTOCOL_BITS & _MAX_NODES - 1
        used = np.union1d(source, dest)
        used = used[used != _OVERFLOW_NODE]
        new_ids = np.zeros(len(self._node_ids) + 1, np.int64)
        new_ids[used] = np.arange(1, len(used) + 1)
        self._nodes = self._nodes.take(pa.array(used - 1)).combine_chunks()
        tuples = _label_tuples(self._nodes)
        self._node_ids = {key: row + 1 for row, key in enumerate(tuples)}
        protocols = keys & (1 << _PROTOCOL_BITS) - 1
        self._keys = _series_keys(new_ids[source], new_ids[dest], protocols)
        self._index = _KeyIndex.empty()
        self._index.insert(self._keys)


def _series_keys(
    source: Integers, dest: Integers, protocols: NDArray[np.int64]
) -> Integers:
    return source << _NODE_BITS + _PROTOCOL_BITS | dest << _PROTOCOL_BITS | protocols


def _overflow_keys() -> Integers:
    return np.array([int(protocol) for protocol in Protocol], np.int64)


def _label_tuples(nodes: pa.Table) -> list[bytes]:
    """Return the labels of each node as one value that no other labels have."""
    parts: list[ByteColumn | bytes] = []
    for label in NODE_LABELS:
        values: Any = nodes.column(label).cast(pa.large_binary()).combine_chunks()
        parts += [encode_numbers(lengths(values)), b":", values]
    return cast(list[bytes], join(*parts).to_pylist())


def _no_nodes() -> pa.Table:
    return pa.table({label: pa.array([], pa.string()) for label in NODE_LABELS})


def _overflow_node() -> pa.Table:
    return pa.table({label: pa.array([""], pa.string()) for label in NODE_LABELS})
