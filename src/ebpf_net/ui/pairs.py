"""The two directions of a window's edges, joined into one row for each pair.

Everything here works on whole columns: the number of edges does not matter to what
follows, which sees only the rows on the screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ebpf_net.schema import NODE_LABELS, Level
from ebpf_net.ui.text_columns import TextColumn, equals, join, rank, read_text

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """One row for each (left, right, protocol); left is the client where that is known.

    ``left`` and ``right`` are row numbers in ``nodes``. ``out`` is from left to right.
    ``clients`` tells whether left (1) or right (-1) was seen to connect; 0: neither.
    """

    nodes: pa.Table
    left: Int64
    right: Int64
    protocol: Int64
    clients: Int64
    bytes_out: Int64
    bytes_in: Int64
    packets_out: Int64
    packets_in: Int64
    retransmits: Int64
    resets: Int64
    syn_timeouts: Int64
    opened: Int64
    open: Int64
    failures: Int64
    drops: Int64
    rtt_count: Int64
    rtt_sum_us: Int64
    rtt_min_us: Int64  # 0: no sample
    connect_count: Int64
    connect_sum_us: Int64

    def __len__(self) -> int:
        return len(self.left)

    @property
    def bytes(self) -> Int64:
        """Bytes of both directions."""
        return self.bytes_out + self.bytes_in

    @property
    def packets(self) -> Int64:
        """Packets of both directions."""
        return self.packets_out + self.packets_in

    @property
    def rtt_us(self) -> npt.NDArray[np.float64]:
        """Mean round-trip time; 0 where there is no sample."""
        return self.rtt_sum_us / np.maximum(self.rtt_count, 1)

    def take(self, rows: Int64 | Bool) -> Pairs:
        """Return some of the rows."""
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in _COLUMNS},
        )


_COLUMNS = tuple(item.name for item in fields(Pairs) if item.name != "nodes")


@dataclass(frozen=True)
class _Groups:
    """Edges sorted by pair: ``starts`` of the pairs, and whether low is the source."""

    order: Int64
    starts: Int64
    is_forward: Bool

    def add(self, column: Int64, *, forward: bool | None = None) -> Int64:
        """Sum a column by pair, of one direction or of both."""
        return self._reduce(np.add, column, 0, forward)

    def smallest(self, column: Int64) -> Int64:
        """Return the smallest value above zero, or zero."""
        none = np.iinfo(np.int64).max
        lowest = self._reduce(
            np.minimum, np.where(column > 0, column, none), none, None
        )
        return np.where(lowest == none, 0, lowest)

    def _reduce(
        self, combine: np.ufunc, column: Int64, neutral: int, forward: bool | None
    ) -> Int64:
        if forward is not None:
            column = np.where(self.is_forward == forward, column, neutral)
        reduced: Int64 = combine.reduceat(column[self.order], self.starts)
        return reduced


def join_directions(levels: Sequence[Level]) -> Pairs:
    """Return the pairs of a window that came in parts; their values add up."""
    nodes, columns = _concatenate(levels)
    if not len(columns["source"]):
        none = np.zeros(0, np.int64)
        return Pairs(nodes=nodes, **dict.fromkeys(_COLUMNS, none))
    low = np.minimum(columns["source"], columns["dest"])
    high = np.maximum(columns["source"], columns["dest"])
    key = (low * nodes.num_rows + high) * 256 + columns["protocol"]
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    groups = _Groups(order, starts, columns["source"] == low)
    first = order[starts]
    pairs = _sum_pairs(
        nodes, low[first], high[first], columns["protocol"][first], columns, groups
    )
    return _put_client_left(pairs)


def _sum_pairs(
    nodes: pa.Table,
    low: Int64,
    high: Int64,
    protocol: Int64,
    columns: dict[str, Int64],
    groups: _Groups,
) -> Pairs:
    connects = columns["connect_count"] + columns["connect_failures"]
    clients = np.sign(
        groups.add(connects, forward=True) - groups.add(connects, forward=False)
    )
    return Pairs(
        nodes=nodes,
        left=low,
        right=high,
        protocol=protocol,
        clients=clients,
        bytes_out=groups.add(columns["bytes"], forward=True),
        bytes_in=groups.add(columns["bytes"], forward=False),
        packets_out=groups.add(columns["packets"], forward=True),
        packets_in=groups.add(columns["packets"], forward=False),
        retransmits=groups.add(columns["retransmits"]),
        resets=groups.add(columns["resets"]),
        syn_timeouts=groups.add(columns["syn_timeouts"]),
        opened=_connections(groups, columns["opened"], low == high),
        open=_connections(groups, columns["open"], low == high),
        failures=groups.add(columns["connect_failures"]),
        drops=groups.add(columns["drops"]),
        rtt_count=groups.add(columns["rtt_count"]),
        rtt_sum_us=groups.add(columns["rtt_sum_us"]),
        rtt_min_us=groups.smallest(columns["rtt_min_us"]),
        connect_count=groups.add(columns["connect_count"]),
        connect_sum_us=groups.add(columns["connect_sum_us"]),
    )


def _connections(groups: _Groups, column: Int64, is_itself: Bool) -> Int64:
    """Count connections by the sockets of both ends: each has one at either end.

    An end that talks to itself has both.
    """
    forward, backward = (groups.add(column, forward=way) for way in (True, False))
    return np.where(is_itself, forward // 2, np.maximum(forward, backward))


def _put_client_left(pairs: Pairs) -> Pairs:
    """Turn the pairs whose right end is the client.

    Where no connect was seen, an end whose process is known goes before one of which
    only the address is; then the names decide, so that a pair stays as it is.
    """
    nameless = equals(read_text(pairs.nodes, "process.name"), "").astype(np.int64)
    places = rank(identities(pairs.nodes))
    guess = np.sign(nameless[pairs.right] - nameless[pairs.left])
    guess = np.where(
        guess == 0, np.sign(places[pairs.right] - places[pairs.left]), guess
    )
    return turn(pairs, np.where(pairs.clients == 0, guess, pairs.clients) < 0)


def turn(pairs: Pairs, turned: Bool) -> Pairs:
    """Exchange left and right of some rows."""

    def either(one: Int64, other: Int64) -> Int64:
        return np.where(turned, other, one)

    return replace(
        pairs,
        left=either(pairs.left, pairs.right),
        right=either(pairs.right, pairs.left),
        clients=either(pairs.clients, -pairs.clients),
        bytes_out=either(pairs.bytes_out, pairs.bytes_in),
        bytes_in=either(pairs.bytes_in, pairs.bytes_out),
        packets_out=either(pairs.packets_out, pairs.packets_in),
        packets_in=either(pairs.packets_in, pairs.packets_out),
    )


def _concatenate(levels: Sequence[Level]) -> tuple[pa.Table, dict[str, Int64]]:
    edges = pa.concat_tables([level.edges for level in levels])
    columns = {
        name: edges[name].to_numpy().astype(np.int64) for name in edges.column_names
    }
    if len(levels) == 1:
        return levels[0].nodes, columns
    nodes = pa.concat_tables([level.nodes for level in levels])
    codes = identities(nodes).dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    ends = np.cumsum([0, *(level.nodes.num_rows for level in levels[:-1])])
    offsets = np.repeat(ends, [level.edges.num_rows for level in levels])
    for name in ("source", "dest"):
        columns[name] = codes[columns[name] + offsets].astype(np.int64)
    return nodes.take(first), columns


def identities(nodes: pa.Table) -> TextColumn:
    """Return one string for each node; two are equal only where all labels are."""
    labels = [read_text(nodes, label) for label in NODE_LABELS]
    return join(*labels, separator="\x00")
