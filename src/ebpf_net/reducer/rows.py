"""Rows of edges on their way through the reducer, with who sent each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ebpf_net.reducer.keys import Addresses, Bool, EdgeKeys, Int64, edge_keys
from ebpf_net.schema import EDGE_SAMPLES, EDGES, Columns, Role


def arrow_schema(columns: Columns) -> pa.Schema:
    """Return the Arrow schema of a table of ``schema``."""
    types = {"bool": "bool_"}
    return pa.schema(
        [pa.field(name, getattr(pa, types.get(kind, kind))(), nullable=False)
         for name, kind in columns]
    )  # fmt: skip


class Verdict(IntEnum):
    """Whether a row's volume counts, if that is decided before the matching."""

    OPEN = 0
    LEFT_OUT = 1
    COUNTS = 2


PUBLIC = "public_address_low"
"""The column with the own end as others see it; its first half is 0 as of all IPv4."""
_ADDED: Columns = (
    ("outer_address_high", "int64"),  # the client as the server sees it; 0: as it is
    ("outer_address_low", "int64"),
    (
        PUBLIC,
        "int64",
    ),  # own end as the other sees it, see cloud_public.py; 0: as is
    ("scope", "int64"),  # only rows of one are of one connection, see scopes.py
    ("verdict", "int8"),  # a Verdict
)
EDGES_SCHEMA = arrow_schema((*EDGES, *_ADDED))
SAMPLES_SCHEMA = arrow_schema(EDGE_SAMPLES)


@dataclass(frozen=True)
class Rows:
    """Edges of one window: ``source`` and ``boot`` say which collector and host.

    ``samples.edge`` counts from the first row of ``edges``.
    """

    edges: pa.Table
    samples: pa.Table
    source: Int64
    boot: Int64

    def __len__(self) -> int:
        return int(self.edges.num_rows)

    def column(self, name: str) -> NDArray[np.generic]:
        """Return a column as one array."""
        return numpy_column(self.edges, name)

    def int64(self, name: str) -> Int64:
        """Return an integer column widened to 64 bits."""
        return int64_column(self.edges, name)

    def without_open(self) -> Rows:
        """Return the rows with no socket open: a later window of theirs says it."""
        index = self.edges.schema.get_field_index("open")
        zeros = pa.array(np.zeros(len(self), np.int32))
        # The batch's own field: whether it says "not null" is the sender's choice.
        edges = self.edges.set_column(index, self.edges.schema.field(index), zeros)
        return replace(self, edges=edges)

    def with_public(self, public: Int64) -> Rows:
        """Return the rows with other public addresses of their own ends."""
        index = self.edges.schema.get_field_index(PUBLIC)
        field = self.edges.schema.field(index)
        edges = self.edges.set_column(index, field, pa.array(public))
        return replace(self, edges=edges)

    @cached_property
    def is_client(self) -> Bool:
        """Which rows are a client's; an unknown role is settled by the ports."""
        role = self.column("role")
        client: Bool = role == Role.CLIENT
        unknown = role == Role.UNKNOWN
        if unknown.any():
            local, remote = self.int64("local_port"), self.int64("remote_port")
            guess = (remote != 0) & ((local == 0) | (remote < local))
            client = np.where(unknown, guess, client)
        return client

    @cached_property
    def addresses(self) -> Addresses:
        """Addresses of client and server as the server sees them.

        That of an instance that a cloud has given a public one may be that one.
        """
        local_high, local_low = (
            self.int64("local_address_high"),
            self.int64("local_address_low"),
        )
        remote_high, remote_low = (
            self.int64("remote_address_high"),
            self.int64("remote_address_low"),
        )
        client = self.is_client
        public = self.int64(PUBLIC)
        if public.any():
            local_high = np.where(public != 0, 0, local_high)
            local_low = np.where(public != 0, public, local_low)
        outer_high = self.int64("outer_address_high")
        outer_low = self.int64("outer_address_low")
        client_high = np.where(client, local_high, remote_high)
        client_low = np.where(client, local_low, remote_low)
        translated = (outer_high | outer_low) != 0
        if translated.any():
            client_high = np.where(translated, outer_high, client_high)
            client_low = np.where(translated, outer_low, client_low)
        return Addresses(
            client_high,
            client_low,
            np.where(client, remote_high, local_high),
            np.where(client, remote_low, local_low),
        )

    @cached_property
    def server_port(self) -> Int64:
        """Port of the server."""
        return np.where(
            self.is_client, self.int64("remote_port"), self.int64("local_port")
        )

    @cached_property
    def keys(self) -> EdgeKeys:
        """Keys for the matching."""
        return self.unscoped_keys.within(self.int64("scope"))

    @cached_property
    def unscoped_keys(self) -> EdgeKeys:
        """Keys as if the addresses meant the same to everybody."""
        service = (self.server_port << 8) | self.int64("protocol")
        return edge_keys(self.addresses, service, self.int64("netns"), self.boot)

    @cached_property
    def weight(self) -> Int64:
        """Bytes in both directions: which of several rows is the busiest."""
        total: Int64 = self.int64("bytes_sent") + self.int64("bytes_received")
        return total

    @cached_property
    def moved(self) -> Bool:
        """Which rows have any volume: bytes, packets, connections begun or ended."""
        moved: Bool = self.weight != 0
        for name in ("packets_sent", "packets_received", "opened", "closed"):
            if moved.all():
                break
            moved |= self.column(name) != 0
        return moved

    def without_samples(self, index: Int64) -> Rows:
        """Return the rows at these places, as often as they are named."""
        samples = self.samples.slice(0, 0)
        source, boot = self.source[index], self.boot[index]
        return Rows(self.edges.take(index), samples, source, boot)

    def take(self, chosen: Bool) -> Rows:
        """Return the chosen rows with their samples."""
        index = np.flatnonzero(chosen)
        place = np.full(len(self), -1, np.int64)
        place[index] = np.arange(len(index))
        edge = place[numpy_column(self.samples, "edge")] if self.samples else None
        samples = self.samples
        if edge is not None:
            kept = edge >= 0
            samples = samples.filter(pa.array(kept)).set_column(
                0, "edge", pa.array(edge[kept])
            )
        return Rows(
            self.edges.take(index),
            samples,
            self.source[index],
            self.boot[index],
        )


def numpy_column(table: pa.Table, name: str) -> NDArray[np.generic]:
    """Return a column without nulls as one NumPy array."""
    column = table.column(name)
    if column.num_chunks == 1:
        return np.asarray(column.chunk(0).to_numpy(zero_copy_only=False))
    return np.asarray(column.to_numpy())


def int64_column(table: pa.Table, name: str) -> Int64:
    """Return an integer column without nulls as one array of 64-bit integers."""
    return numpy_column(table, name).astype(np.int64, copy=False)


def address_columns(table: pa.Table, name: str) -> tuple[Int64, Int64]:
    """Return both halves of a column of addresses, such as ``outer_address``."""
    return int64_column(table, f"{name}_high"), int64_column(table, f"{name}_low")


def no_rows() -> Rows:
    """Return a table without a row."""
    return Rows(
        EDGES_SCHEMA.empty_table(),
        _wide_samples(SAMPLES_SCHEMA.empty_table(), 0),
        np.empty(0, np.int64),
        np.empty(0, np.int64),
    )


def make_rows(edges: pa.Table, samples: pa.Table, source: int, boot: int) -> Rows:
    """Return one batch's rows."""
    count = edges.num_rows
    for name, kind in _ADDED:
        edges = edges.append_column(
            EDGES_SCHEMA.field(name), pa.array(np.zeros(count, kind))
        )
    return Rows(
        edges,
        _wide_samples(samples, 0),
        np.full(count, source, np.int64),
        np.full(count, boot, np.int64),
    )


def conform_rows(rows: Rows) -> Rows:
    """Return rows of another version with this one's columns; new ones are zero."""
    if rows.edges.column_names == EDGES_SCHEMA.names:
        return rows
    columns = [
        rows.edges[field.name]
        if field.name in rows.edges.column_names
        else pa.array(np.zeros(len(rows), field.type.to_pandas_dtype()))
        for field in EDGES_SCHEMA
    ]
    return replace(rows, edges=pa.table(columns, names=EDGES_SCHEMA.names))


def concat_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts; samples keep pointing at their row."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return no_rows()
    offset, samples = 0, []
    for part in parts:
        samples.append(_wide_samples(part.samples, offset))
        offset += len(part)
    return Rows(
        pa.concat_tables([part.edges for part in parts]),
        pa.concat_tables(samples),
        np.concatenate([part.source for part in parts]),
        np.concatenate([part.boot for part in parts]),
    )


def with_scopes(rows: Rows, scope: Int64) -> Rows:
    """Return the rows with other scopes."""
    index = rows.edges.schema.get_field_index("scope")
    field = rows.edges.schema.field(index)
    return replace(rows, edges=rows.edges.set_column(index, field, pa.array(scope)))


def _wide_samples(samples: pa.Table, offset: int) -> pa.Table:
    edge = pa.array(int64_column(samples, "edge") + offset)
    return samples.select(["count", "bucket", "kind"]).add_column(0, "edge", edge)
