"""The labels of edges as bytes, joined by column.

A format says how one label with one value is written. Each distinct value is written
once, nodes take what their values became, and edges take what their nodes became.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ebpf_net.exporters.byte_columns import (
    ByteColumn,
    encode_texts,
    join,
    lengths,
    take,
    text_of,
    where,
)
from ebpf_net.exporters.edge_blocks import EdgeBlock, LevelSeries
from ebpf_net.schema import NODE_LABELS

Encode = Callable[[str, ByteColumn], ByteColumn]
"""Writes a label's name with each of its values."""

PRODUCT = "network-explorer"
OVERFLOW_LABEL = "otel.metric.overflow"


class EdgeLabels:
    """The labels of one level's edges in one format.

    The order is source, dest, az_equal, the constants of the level.
    """

    def __init__(
        self, series: LevelSeries, constants: Mapping[str, str], encode: Encode
    ) -> None:
        nodes = series.level.nodes
        self._edges = series.level.edges
        self._overflow = series.overflow
        self._source = _join_node_labels(nodes, "source", encode)
        self._dest = _join_node_labels(nodes, "dest", encode)
        self._zones = _Zones(nodes)
        texts = encode("az_equal", encode_texts(["", "false", "true"]))
        self._zone_equality = where(np.array([False, True, True]), texts)
        marks = encode(OVERFLOW_LABEL, encode_texts(["", "true"]))
        self._overflow_marks = where(np.array([False, True]), marks)
        self._constants = b"".join(
            text_of(encode(label, encode_texts([value])))
            for label, value in constants.items()
        )

    def of_block(self, block: EdgeBlock) -> ByteColumn:
        """Return the labels of each row of a block of this level."""
        rows = block.rows
        source = self._edges.column("source").to_numpy()[rows]
        dest = self._edges.column("dest").to_numpy()[rows]
        return join(
            take(self._source, source),
            take(self._dest, dest),
            take(self._zone_equality, self._zones.compare(source, dest)),
            self._constants,
            take(self._overflow_marks, self._overflow[rows].astype(np.int8)),
        )


class _Zones:
    """Which ends of a level are in one zone.

    By the id that all accounts share, else by name within what is known of provider and
    region.
    """

    def __init__(self, nodes: pa.Table) -> None:
        self._name = _codes(nodes, "availability_zone")
        self._id = _codes(nodes, "cloud.zone.id")
        around = (_codes(nodes, label) for label in ("cloud.provider", "region"))
        self._around = [codes for codes in around if (codes >= 0).any()]

    def compare(
        self, source: NDArray[np.int32], dest: NDArray[np.int32]
    ) -> NDArray[np.int8]:
        """Return 0 where a zone is unknown, 1 where they differ, else 2."""
        one, other = self._name[source], self._name[dest]
        known, equal = (one >= 0) & (other >= 0), one == other
        for codes in self._around:
            one, other = codes[source], codes[dest]
            equal &= (one == other) | (one < 0) | (other < 0)
        if (self._id >= 0).any():
            one, other = self._id[source], self._id[dest]
            equal = np.where((one >= 0) & (other >= 0), one == other, equal)
        return np.where(known, 1 + equal, 0).astype(np.int8)


def _join_node_labels(nodes: pa.Table, side: str, encode: Encode) -> ByteColumn:
    columns = []
    for label in NODE_LABELS:
        codes, values = _distinct_values(nodes, label)
        written = where(lengths(values) > 0, encode(f"{side}.{label}", values))
        columns.append(take(written, codes))
    return join(*columns)


def _distinct_values(
    nodes: pa.Table, label: str
) -> tuple[NDArray[np.int64], ByteColumn]:
    """Return a number for each node's value, and the values."""
    texts: Any = nodes.column(label).cast(pa.large_binary()).combine_chunks()
    dictionary: Any = pc.dictionary_encode(texts)
    return dictionary.indices.to_numpy().astype(np.int64), dictionary.dictionary


def _codes(nodes: pa.Table, label: str) -> NDArray[np.int64]:
    """Return a number for each node's value; -1 where it is empty."""
    codes, values = _distinct_values(nodes, label)
    if not len(codes):
        return codes
    return np.where((lengths(values) == 0)[codes], -1, codes)
