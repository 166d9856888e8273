"""Prometheus text 0.0.4 and OpenMetrics 1.0, rendered by column.

https://prometheus.io/docs/instrumenting/exposition_formats/
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ebpf_net.exporters.byte_columns import (
    ByteColumn,
    encode_numbers,
    encode_texts,
    join,
    replace,
    take,
    text_of,
)
from ebpf_net.exporters.edge_blocks import (
    EdgeBlock,
    Floats,
    Integers,
    LevelSeries,
    cut_blocks,
    histogram_values,
    number_values,
    reason_name,
    reason_numbers,
    reason_values,
)
from ebpf_net.exporters.edge_labels import PRODUCT, EdgeLabels, transport_label
from ebpf_net.exporters.internal_metrics import group_points
from ebpf_net.metrics import InternalMetric, Kind, Metric
from ebpf_net.schema import HISTOGRAM_SCALE, InternalPoint

_END = b"# EOF\n"
_UNITS = {"By": "bytes", "s": "seconds"}
_TYPES = {Kind.SUM: "counter", Kind.GAUGE: "gauge", Kind.HISTOGRAM: "histogram"}

# Upper bounds of the classic histograms are powers of two seconds, 61 µs to 8 s, always
# all of them: le of one series must be le of all, or their sum means nothing.
_BOUND_EXPONENTS = range(-14, 4)
_BUCKETS_PER_POWER = 1 << HISTOGRAM_SCALE
_HISTOGRAM_ROWS = 1024  # rendered at once; a row has 21 lines


def render_metrics(
    totals: Mapping[str, LevelSeries],
    gauges: Mapping[str, LevelSeries],
    metrics: Sequence[Metric],
    openmetrics: bool,
) -> bytes:
    """Return the text: sums and histograms of ``totals``, gauges of ``gauges``."""
    total_blocks = list(_label_blocks(totals))
    gauge_blocks = list(_label_blocks(gauges))
    text: list[bytes] = []
    for metric in metrics:
        blocks = gauge_blocks if metric.kind is Kind.GAUGE else total_blocks
        lines = [
            piece
            for block, labels in blocks
            if metric.is_of(block.protocol)
            for piece in _metric_lines(metric, block, labels, openmetrics)
            if piece
        ]
        if lines:
            text += [_family_head(metric, openmetrics), *lines]
    if openmetrics:
        text.append(_END)
    return b"".join(text)


def render_internal(points: Iterable[InternalPoint], openmetrics: bool) -> bytes:
    """Return the text of the ``ebpf_net.*`` metrics."""
    text: list[bytes] = []
    for metric, members in group_points(points).items():
        text.append(_family_head(metric, openmetrics))
        name = _sample_name(metric, openmetrics)
        text += [_internal_line(name, point) for point in members]
    if openmetrics:
        text.append(_END)
    return b"".join(text)


def _internal_line(name: str, point: InternalPoint) -> bytes:
    labels = ",".join(
        f'{_underscored(key)}="{_escape(value)}"' for key, value in point.labels
    )
    whole = math.isfinite(point.value) and point.value == int(point.value)
    value = int(point.value) if whole else point.value
    return f"{name}{{{labels}}} {value}\n".encode()


def _label_blocks(
    levels: Mapping[str, LevelSeries],
) -> Iterator[tuple[EdgeBlock, ByteColumn]]:
    labels: dict[str, EdgeLabels] = {}
    for block in cut_blocks(levels):
        name = block.level_name
        if name not in labels:
            labels[name] = EdgeLabels(block.series, {"aggregation": name}, _encode)
        yield block, labels[name].of_block(block)


def _encode(label: str, values: ByteColumn) -> ByteColumn:
    """Write ``,label="value"``: another label is always before it."""
    for character, escape in ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n")):
        values = replace(values, character, escape)
    return join(f',{_underscored(label)}="'.encode(), values, b'"')


def _metric_lines(
    metric: Metric, block: EdgeBlock, labels: ByteColumn, openmetrics: bool
) -> Iterator[bytes]:
    name = _sample_name(metric, openmetrics)
    if metric.kind is Kind.HISTOGRAM:
        yield from _histogram_lines(metric, block, labels)
    elif metric.reason_attribute:
        samples = reason_values(block, metric)
        reasons = _encode_reasons(metric, samples.buckets)
        transport = transport_label(metric, block, _encode)
        labels = join(take(labels, samples.rows), transport, reasons)
        yield text_of(join(*_line(name, labels, reason_numbers(samples, metric))))
    else:
        numbers = number_values(block, metric)
        if numbers.rows is not None:
            labels = take(labels, numbers.rows)
        yield text_of(join(*_line(name, labels, numbers.values)))


def _encode_reasons(metric: Metric, reasons: Integers) -> ByteColumn:
    numbers, codes = np.unique(reasons, return_inverse=True)
    names = encode_texts([reason_name(metric, int(number)) for number in numbers])
    return take(_encode(metric.reason_attribute, names), codes)


def _histogram_lines(
    metric: Metric, block: EdgeBlock, labels: ByteColumn
) -> Iterator[bytes]:
    histograms = histogram_values(block, metric)
    below = _cumulative_buckets(block, metric, histograms.rows)
    below += histograms.zero_counts[:, np.newaxis]
    name = _underscored(metric.name)
    for start in range(0, len(histograms.rows), _HISTOGRAM_ROWS):
        part = slice(start, start + _HISTOGRAM_ROWS)
        part_labels = take(labels, histograms.rows[part])
        parts: list[ByteColumn | bytes] = []
        for position, exponent in enumerate(_BOUND_EXPONENTS):
            le = f',le="{float(2.0**exponent)}"'
            parts += _line(f"{name}_bucket", part_labels, below[part, position], le)
        counts = histograms.counts[part]
        parts += _line(f"{name}_bucket", part_labels, counts, ',le="+Inf"')
        parts += _line(f"{name}_sum", part_labels, histograms.sums_seconds[part])
        parts += _line(f"{name}_count", part_labels, counts)
        yield text_of(join(*parts))


def _cumulative_buckets(block: EdgeBlock, metric: Metric, rows: Integers) -> Integers:
    """Return how many samples of each row are at or below each bound."""
    samples = reason_values(block, metric)
    # Bucket i ends at 2**((i + 1) / 4): the lowest bound not below that, rounded up.
    exponents = -(-(samples.buckets + 1) // _BUCKETS_PER_POWER)
    positions = np.clip(exponents - _BOUND_EXPONENTS.start, 0, len(_BOUND_EXPONENTS))
    counts = np.zeros((len(block.rows), len(_BOUND_EXPONENTS) + 1), np.int64)
    np.add.at(counts, (samples.rows, positions), samples.counts)
    return np.cumsum(counts, axis=1)[rows, :-1]


def _line(
    name: str, labels: ByteColumn, values: Integers | Floats, first_labels: str = ""
) -> list[ByteColumn | bytes]:
    """Return what is joined into a line for each value."""
    head = f'{name}{{sf_product="{PRODUCT}"{first_labels}'
    return [head.encode(), labels, b"} ", encode_numbers(values), b"\n"]


def _family_head(metric: Metric | InternalMetric, openmetrics: bool) -> bytes:
    name = _underscored(metric.name)
    lines = []
    if metric.description:
        lines.append(f"# HELP {name} {metric.description}\n")
    lines.append(f"# TYPE {name} {_TYPES[metric.kind]}\n")
    unit = _UNITS.get(metric.unit, "")
    # A family with a unit must be named for it; the reference's names win.
    if openmetrics and unit and name.endswith(f"_{unit}"):
        lines.append(f"# UNIT {name} {unit}\n")
    return "".join(lines).encode()


def _sample_name(metric: Metric | InternalMetric, openmetrics: bool) -> str:
    suffix = "_total" if openmetrics and metric.kind is Kind.SUM else ""
    return _underscored(metric.name) + suffix


def _underscored(name: str) -> str:
    return name.replace(".", "_")


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
