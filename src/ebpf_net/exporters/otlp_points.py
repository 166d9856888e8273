"""OTLP data points of a block of edges, encoded by column.

Field numbers are those of opentelemetry/proto/metrics/v1/metrics.proto. The points of a
block are joined once, with eight bytes left for the value: each further metric of the
same edges costs a copy and a scatter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_net.exporters.byte_columns import (
    ByteColumn,
    encode_texts,
    from_buffers,
    from_records,
    join,
    lengths,
    take,
    to_buffers,
    where,
)
from ebpf_net.exporters.edge_blocks import (
    EdgeBlock,
    Floats,
    Histograms,
    Integers,
    LevelSeries,
    histogram_values,
    number_values,
    reason_name,
    reason_numbers,
    reason_values,
)
from ebpf_net.exporters.edge_labels import PRODUCT, EdgeLabels, transport_label
from ebpf_net.exporters.protobuf_wire import (
    encode_varint,
    encode_varints,
    string_field,
    varint_column,
    zigzag,
)
from ebpf_net.metrics import Kind, Metric
from ebpf_net.schema import HISTOGRAM_SCALE

Points = tuple[NDArray[np.uint8], Integers]
"""Encoded points, each with its key and length, and where they begin and end."""

_DATA_POINTS = b"\x0a"  # the key of data_points in Gauge, Sum and ExponentialHistogram
_NUMBER_ATTRIBUTES = 7
_HISTOGRAM_ATTRIBUTES = 1
_AS_INT = 6 << 3 | 1
_AS_DOUBLE = 4 << 3 | 1

_TIMES = [("start_key", "u1"), ("start", "<i8"), ("time_key", "u1"), ("time", "<i8")]
_NUMBER = np.dtype([*_TIMES, ("value_key", "u1"), ("value", "<i8")])
_VALUE_KEY_OFFSET = 18
_HISTOGRAM = np.dtype(
    [
        *_TIMES,
        ("count_key", "u1"),
        ("count", "<i8"),
        ("sum_key", "u1"),
        ("sum", "<f8"),
        ("scale_key", "u1"),
        ("scale", "u1"),
    ]
)


class LevelAttributes:
    """Attributes of a level's edges as fields of either kind of data point."""

    def __init__(self, name: str, series: LevelSeries) -> None:
        self._series = series
        self._constants = {"aggregation": name, "sf_product": PRODUCT}
        self._labels: dict[int, EdgeLabels] = {}

    def of_block(self, block: EdgeBlock, field: int) -> ByteColumn:
        """Return the attributes of a block's rows as fields ``field`` of a point."""
        if field not in self._labels:

            def encode(label: str, values: ByteColumn) -> ByteColumn:
                return encode_attributes(field, label, values)

            self._labels[field] = EdgeLabels(self._series, self._constants, encode)
        return self._labels[field].of_block(block)


def encode_attributes(field: int, label: str, values: ByteColumn) -> ByteColumn:
    """Return the KeyValue of each value, as field ``field`` of a data point."""
    key = string_field(1, label)
    value_lengths = lengths(values)
    length_bytes = varint_column(value_lengths)
    any_lengths = 1 + lengths(length_bytes) + value_lengths
    any_length_bytes = varint_column(any_lengths)
    pair_lengths = len(key) + 1 + lengths(any_length_bytes) + any_lengths
    return join(
        _length_key(field),
        varint_column(pair_lengths),
        key + b"\x12",
        any_length_bytes,
        b"\x0a",
        length_bytes,
        values,
    )


def _encode_attributes(label: str, values: ByteColumn) -> ByteColumn:
    return encode_attributes(_NUMBER_ATTRIBUTES, label, values)


class BlockPoints:
    """The data points of one block's metrics."""

    def __init__(
        self, block: EdgeBlock, attributes: LevelAttributes, end_ns: int
    ) -> None:
        self.block = block
        self._attributes = attributes
        self._start_ns = block.series.start_ns[block.rows]
        self._end_ns = end_ns
        self._template: _NumberTemplate | None = None
        self._number_attributes: ByteColumn | None = None

    def encode(self, metric: Metric) -> Points:
        """Return a metric's points; the bytes are good until the next call."""
        if metric.kind is Kind.HISTOGRAM:
            return self._encode_histograms(histogram_values(self.block, metric))
        if metric.reason_attribute:
            return self._encode_reasons(metric)
        numbers = number_values(self.block, metric)
        if self._template is None:
            self._template = _NumberTemplate(
                self._attributes_of_numbers(), self._start_ns, self._end_ns
            )
        return self._template.fill(numbers.values, numbers.rows)

    def _attributes_of_numbers(self) -> ByteColumn:
        if self._number_attributes is None:
            self._number_attributes = self._attributes.of_block(
                self.block, _NUMBER_ATTRIBUTES
            )
        return self._number_attributes

    def _encode_reasons(self, metric: Metric) -> Points:
        samples = reason_values(self.block, metric)
        numbers, codes = np.unique(samples.buckets, return_inverse=True)
        names = encode_texts([reason_name(metric, int(number)) for number in numbers])
        reasons = _encode_attributes(metric.reason_attribute, names)
        attributes = join(
            take(self._attributes_of_numbers(), samples.rows),
            transport_label(metric, self.block, _encode_attributes),
            take(reasons, codes),
        )
        template = _NumberTemplate(
            attributes, self._start_ns[samples.rows], self._end_ns
        )
        return template.fill(reason_numbers(samples, metric), None)

    def _encode_histograms(self, histograms: Histograms) -> Points:
        rows = histograms.rows
        header = np.empty(len(rows), _HISTOGRAM)
        _set_times(header, self._start_ns[rows], self._end_ns)
        header["count_key"], header["count"] = 4 << 3 | 1, histograms.counts
        header["sum_key"], header["sum"] = 5 << 3 | 1, histograms.sums_seconds
        header["scale_key"], header["scale"] = 6 << 3, zigzag(HISTOGRAM_SCALE)
        attributes = self._attributes.of_block(self.block, _HISTOGRAM_ATTRIBUTES)
        points = join(
            take(attributes, rows),
            from_records(header),
            _nonzero_fields(7, histograms.zero_counts),
            _positive_buckets(histograms),
            _nonzero_fields(13, histograms.maximum_seconds),
        )
        return to_buffers(_as_messages(_DATA_POINTS, points))


class _NumberTemplate:
    """NumberDataPoints of which only the value changes from metric to metric."""

    def __init__(self, attributes: ByteColumn, start_ns: Integers, end_ns: int) -> None:
        header = np.empty(len(attributes), _NUMBER)
        _set_times(header, start_ns, end_ns)
        header["value_key"], header["value"] = _AS_INT, 0
        sizes = varint_column(lengths(attributes) + _NUMBER.itemsize)
        points = join(_DATA_POINTS, sizes, from_records(header), attributes)
        data, offsets = to_buffers(points)
        self._data = data.copy()
        self._offsets = offsets
        self._keys = offsets[:-1] + 1 + lengths(sizes) + _VALUE_KEY_OFFSET
        self._values = self._keys[:, np.newaxis] + np.arange(1, 9)

    def fill(self, values: Integers | Floats, rows: Integers | None) -> Points:
        """Return the points with these values; of all rows, or of the given ones."""
        keys = self._keys if rows is None else self._keys[rows]
        positions = self._values if rows is None else self._values[rows]
        is_integer = np.issubdtype(values.dtype, np.integer)
        self._data[keys] = _AS_INT if is_integer else _AS_DOUBLE
        numbers = values.astype("<i8" if is_integer else "<f8")
        self._data[positions] = numbers.view(np.uint8).reshape(-1, 8)
        if rows is None:
            return self._data, self._offsets
        return to_buffers(take(from_buffers(self._data, self._offsets), rows))


def _set_times(header: NDArray[np.void], start_ns: Integers, end_ns: int) -> None:
    header["start_key"], header["start"] = 2 << 3 | 1, start_ns
    header["time_key"], header["time"] = 3 << 3 | 1, end_ns


def _nonzero_fields(number: int, values: Integers | Floats) -> ByteColumn:
    """Return 64-bit field ``number`` where the value is not zero."""
    kind: Any = [("key", "u1"), ("value", values.dtype.newbyteorder("<"))]
    record = np.empty(len(values), kind)
    record["key"], record["value"] = number << 3 | 1, values
    return where(values > 0, from_records(record))


def _positive_buckets(histograms: Histograms) -> ByteColumn:
    """Return the field positive of each histogram that has buckets."""
    encoded, bounds = encode_varints(histograms.bucket_counts)
    counts = from_buffers(encoded, bounds[histograms.starts])
    offsets = histograms.offsets
    zigzags = np.where(offsets >= 0, offsets << 1, (-offsets << 1) - 1)
    offset_fields = where(offsets != 0, join(b"\x08", varint_column(zigzags)))
    buckets = join(offset_fields, _as_messages(_length_key(2), counts))
    has_buckets = np.diff(histograms.starts) > 0
    return where(has_buckets, _as_messages(_length_key(8), buckets))


def _as_messages(key: bytes, column: ByteColumn) -> ByteColumn:
    """Put a field's key and length before each value."""
    return join(key, varint_column(lengths(column)), column)


def _length_key(number: int) -> bytes:
    return encode_varint(number << 3 | 2)
