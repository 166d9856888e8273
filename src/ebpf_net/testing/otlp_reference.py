"""OTLP requests built from protobuf objects, one by one: slow, and easy to check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

from ebpf_net.metrics import Kind, Metric
from ebpf_net.schema import (
    HISTOGRAM_SCALE,
    NODE_LABELS,
    Level,
    Protocol,
    Sample,
    Window,
)


def build_request(
    window: Window,
    metrics: Sequence[Metric],
    resource: Mapping[str, str],
    scope: tuple[str, str],
) -> ExportMetricsServiceRequest:
    """Build the one request that carries a window's points as deltas."""
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    resource_metrics.resource.attributes.extend(
        _attribute(key, value) for key, value in resource.items() if value
    )
    scope_metrics = resource_metrics.scope_metrics.add()
    scope_metrics.scope.name, scope_metrics.scope.version = scope
    for metric in metrics:
        message = metrics_pb2.Metric(
            name=metric.name, description=metric.description, unit=metric.unit
        )
        for name, level in window.levels.items():
            _add_points(message, metric, window, name, level)
        if message.WhichOneof("data"):
            scope_metrics.metrics.append(message)
    return request


def _add_points(
    message: metrics_pb2.Metric,
    metric: Metric,
    window: Window,
    level_name: str,
    level: Level,
) -> None:
    nodes = level.nodes.to_pylist()
    samples: dict[int, list[dict[str, int]]] = {}
    for sample in level.samples.to_pylist():
        if sample["kind"] == metric.sample and sample["count"] > 0:
            samples.setdefault(sample["edge"], []).append(sample)
    rows = enumerate(level.edges.to_pylist())
    for row, edge in sorted(rows, key=lambda one: one[1]["protocol"]):
        protocol = Protocol(edge["protocol"])
        if not metric.is_of(protocol):
            continue
        attributes = _edge_attributes(
            nodes[edge["source"]], nodes[edge["dest"]], level_name
        )
        of_edge = samples.get(row, [])
        if metric.kind is Kind.HISTOGRAM:
            _add_histogram(message, metric, window, edge, of_edge, attributes)
        elif metric.reason_attribute:
            if metric.protocol is None:
                transport = _attribute("network.transport", protocol.name.lower())
                attributes.append(transport)
            _add_reasons(message, metric, window, of_edge, attributes)
        elif not metric.divisor or edge[metric.divisor] > 0:
            point = _add_number(message, metric, window)
            point.attributes.extend(attributes)
            if metric.divisor:
                point.as_double = edge[metric.column] / edge[metric.divisor]
            else:
                point.as_int = edge[metric.column]


def _add_reasons(
    message: metrics_pb2.Metric,
    metric: Metric,
    window: Window,
    samples: Sequence[Mapping[str, int]],
    attributes: Sequence[KeyValue],
) -> None:
    for sample in samples:
        reason = dict(metric.reasons)[sample["bucket"]]
        point = _add_number(message, metric, window)
        if metric.parts == 1:
            point.as_int = sample["count"]
        else:
            point.as_double = sample["count"] / metric.parts
        point.attributes.extend(attributes)
        point.attributes.append(_attribute(metric.reason_attribute, reason))


def _add_number(
    message: metrics_pb2.Metric, metric: Metric, window: Window
) -> metrics_pb2.NumberDataPoint:
    point: metrics_pb2.NumberDataPoint
    if metric.kind is Kind.GAUGE:
        point = message.gauge.data_points.add()
    else:
        message.sum.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
        message.sum.is_monotonic = True
        point = message.sum.data_points.add()
    point.start_time_unix_nano = window.start_ns
    point.time_unix_nano = window.end_ns
    return point


def _add_histogram(
    message: metrics_pb2.Metric,
    metric: Metric,
    window: Window,
    edge: Mapping[str, int],
    samples: Sequence[Mapping[str, int]],
    attributes: Sequence[KeyValue],
) -> None:
    total = sum(sample["count"] for sample in samples)
    count = max(edge[metric.divisor], total)
    if count <= 0:
        return
    histogram = message.exponential_histogram
    histogram.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
    point = histogram.data_points.add()
    point.attributes.extend(attributes)
    point.start_time_unix_nano = window.start_ns
    point.time_unix_nano = window.end_ns
    point.count = count
    point.sum = edge[metric.column] / 1e6
    point.scale = HISTOGRAM_SCALE
    point.zero_count = count - total
    if metric.sample is Sample.RTT and edge["rtt_max_us"]:
        point.max = edge["rtt_max_us"] / 1e6
    if samples:
        buckets = {sample["bucket"]: sample["count"] for sample in samples}
        first, last = min(buckets), max(buckets)
        point.positive.offset = first
        point.positive.bucket_counts.extend(
            buckets.get(bucket, 0) for bucket in range(first, last + 1)
        )


def _edge_attributes(
    source: Mapping[str, str], dest: Mapping[str, str], level_name: str
) -> list[KeyValue]:
    attributes = [
        _attribute(f"{side}.{label}", node[label])
        for side, node in (("source", source), ("dest", dest))
        for label in NODE_LABELS
        if node[label]
    ]
    if source["availability_zone"] and dest["availability_zone"]:
        equal = "true" if _same_zone(source, dest) else "false"
        attributes.append(_attribute("az_equal", equal))
    attributes.append(_attribute("aggregation", level_name))
    attributes.append(_attribute("sf_product", "network-explorer"))
    return attributes


def _same_zone(source: Mapping[str, str], dest: Mapping[str, str]) -> bool:
    pairs = {
        label: (source[label], dest[label])
        for label in ("cloud.zone.id", "availability_zone", "cloud.provider", "region")
    }
    zone_ids = pairs.pop("cloud.zone.id")
    if all(zone_ids):
        return zone_ids[0] == zone_ids[1]
    return all(one == other for one, other in pairs.values() if one and other)


def _attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))
