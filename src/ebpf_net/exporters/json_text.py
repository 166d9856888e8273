"""A window as JSON lines: one object for each edge, with all of its metrics.

Keys are those of OTLP: attributes, metric names. A metric by reason is an object by
reason; a histogram is an object with its exponential buckets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np

from ebpf_net.exporters.byte_columns import (
    ByteColumn,
    encode_numbers,
    encode_texts,
    join,
    join_lists,
    take,
    text_of,
    where,
)
from ebpf_net.exporters.edge_blocks import (
    EdgeBlock,
    Floats,
    Integers,
    cut_blocks,
    histogram_values,
    number_values,
    reason_name,
    reason_numbers,
    reason_values,
    window_series,
)
from ebpf_net.exporters.edge_labels import EdgeLabels
from ebpf_net.metrics import Kind, Metric
from ebpf_net.schema import HISTOGRAM_SCALE, Window


def render_window(window: Window, metrics: Sequence[Metric]) -> Iterator[bytes]:
    """Yield the lines of a window, many at once."""
    levels = window_series(window)
    labels = {
        name: EdgeLabels(series, {"aggregation": name}, _encode)
        for name, series in levels.items()
    }
    for block in cut_blocks(levels):
        head = (
            f'{{"start_time_unix_nano":{window.start_ns},'
            f'"time_unix_nano":{window.end_ns},'
            f'"protocol":"{block.protocol.name.lower()}"'
        )
        values = [
            _metric_column(metric, block)
            for metric in metrics
            if metric.is_of(block.protocol)
        ]
        edge_labels = labels[block.level_name].of_block(block)
        yield text_of(join(head.encode(), edge_labels, *values, b"}\n"))


def _encode(label: str, values: ByteColumn) -> ByteColumn:
    """Write ``,"label":"value"``: another member is always before it."""
    texts = [cast(bytes, value).decode() for value in values.to_pylist()]
    return join(_key(label), encode_texts([_quote(text) for text in texts]))


def _metric_column(metric: Metric, block: EdgeBlock) -> ByteColumn:
    """Return the metric as a member of each row's object; nothing without a value."""
    if metric.kind is Kind.HISTOGRAM:
        return _histogram_column(metric, block)
    if metric.reason_attribute:
        return _reason_column(metric, block)
    numbers = number_values(block, metric)
    return _spread(metric, block, encode_numbers(numbers.values), numbers.rows)


def _reason_column(metric: Metric, block: EdgeBlock) -> ByteColumn:
    samples = reason_values(block, metric)
    numbers, codes = np.unique(samples.buckets, return_inverse=True)
    names = [reason_name(metric, int(number)) for number in numbers]
    keys = take(encode_texts([f"{_quote(name)}:" for name in names]), codes)
    starts = np.searchsorted(samples.rows, np.arange(len(block.rows) + 1))
    numbers_of_all = encode_numbers(reason_numbers(samples, metric))
    members = join_lists(join(keys, numbers_of_all), starts, b",")
    rows = np.flatnonzero(np.diff(starts))
    return _spread(metric, block, join(b"{", take(members, rows), b"}"), rows)


def _histogram_column(metric: Metric, block: EdgeBlock) -> ByteColumn:
    histograms = histogram_values(block, metric)
    counts = encode_numbers(histograms.bucket_counts)
    members: dict[str, Integers | Floats] = {
        "count": histograms.counts,
        "sum": histograms.sums_seconds,
        "zero_count": histograms.zero_counts,
        "offset": histograms.offsets,
    }
    texts = join(
        f'{{"scale":{HISTOGRAM_SCALE}'.encode(),
        *(
            part
            for name, values in members.items()
            for part in (_key(name), encode_numbers(values))
        ),
        _key("bucket_counts") + b"[",
        join_lists(counts, histograms.starts, b","),
        b"]}",
    )
    return _spread(metric, block, texts, histograms.rows)


def _spread(
    metric: Metric, block: EdgeBlock, values: ByteColumn, rows: Integers | None
) -> ByteColumn:
    """Return the members of all rows of a block, given the values of some of them."""
    members = join(_key(metric.name), values)
    if rows is None:
        return members
    if not len(rows):
        return take(encode_texts([""]), np.zeros(len(block.rows), np.int64))
    places = np.zeros(len(block.rows), np.int64)
    places[rows] = np.arange(len(rows))
    present = np.zeros(len(block.rows), np.bool_)
    present[rows] = True
    return where(present, take(members, places))


def _key(name: str) -> bytes:
    return f",{_quote(name)}:".encode()


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
