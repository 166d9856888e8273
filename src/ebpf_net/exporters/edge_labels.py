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
from ebpf_net.metrics import TRANSPORT, Metric
from ebpf_net.schema import NODE_LABELS
from ebpf_net.zones import Zones

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
        self._zones = Zones(nodes)
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


def transport_label(metric: Metric, block: EdgeBlock, encode: Encode) -> bytes:
    """Return the protocol of a block, for a metric that holds for all of them."""
    if metric.protocol is not None:
        return b""
    name = encode_texts([block.protocol.name.lower()])
    return text_of(encode(TRANSPORT, name))


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
