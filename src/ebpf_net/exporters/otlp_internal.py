"""The ``ebpf_net.*`` metrics as one OTLP request."""

from __future__ import annotations

from collections.abc import Iterable

from ebpf_net.exporters.internal_metrics import group_points
from ebpf_net.exporters.otlp_encoding import Temporality, attribute, metric_head
from ebpf_net.exporters.otlp_requests import Request, wrap_metrics
from ebpf_net.exporters.protobuf_wire import (
    bytes_field,
    double_field,
    fixed64_field,
    varint_field,
)
from ebpf_net.metrics import InternalMetric, Kind
from ebpf_net.schema import InternalPoint


def encode_internal(
    points: Iterable[InternalPoint],
    prefixes: tuple[bytes, bytes],
    start_ns: int,
    now_ns: int,
) -> Request:
    """Return the request; counters have counted since ``start_ns``.

    ``prefixes`` are those of ResourceMetrics and ScopeMetrics.
    """
    groups = group_points(points)
    metrics = b"".join(
        bytes_field(2, _encode_metric(metric, members, start_ns, now_ns))
        for metric, members in groups.items()
    )
    resource_prefix, scope_prefix = prefixes
    return Request(
        wrap_metrics(resource_prefix, scope_prefix, metrics),
        sum(len(members) for members in groups.values()),
    )


def _encode_metric(
    metric: InternalMetric, points: list[InternalPoint], start_ns: int, now_ns: int
) -> bytes:
    names = metric_head(metric.name, metric.description, metric.unit)
    start = fixed64_field(2, start_ns) if metric.kind is Kind.SUM else b""
    data = b"".join(
        bytes_field(1, start + fixed64_field(3, now_ns) + _value_fields(metric, point))
        for point in points
    )
    if metric.kind is Kind.GAUGE:
        return names + bytes_field(5, data)
    combined = varint_field(2, Temporality.CUMULATIVE) + varint_field(3, 1)
    return names + bytes_field(7, data + combined)


def _value_fields(metric: InternalMetric, point: InternalPoint) -> bytes:
    # A metric keeps one type for its life: seconds have fractions, nothing else has.
    if metric.unit == "s":
        value = double_field(4, point.value)
    else:
        value = fixed64_field(6, int(point.value))
    return value + b"".join(attribute(7, key, text) for key, text in point.labels)
