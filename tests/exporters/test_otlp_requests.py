import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from ebpf_net.exporters.otlp_requests import RequestWriter, wrap_metrics
from ebpf_net.exporters.protobuf_wire import bytes_field, fixed64_field, string_field

RESOURCE, SCOPE = bytes_field(1, b""), bytes_field(1, string_field(1, "scope"))
POINT = bytes_field(1, fixed64_field(6, 5))


def sums_frame(name):
    return string_field(1, name) + b"\x3a"  # the key of Sum


def points(count):
    data = np.frombuffer(POINT * count, np.uint8)
    return data, np.arange(count + 1) * len(POINT)


def counts(request):
    """Return {metric: number of points} of an encoded request."""
    message = ExportMetricsServiceRequest.FromString(request.body)
    (resource_metrics,) = message.resource_metrics
    (scope_metrics,) = resource_metrics.scope_metrics
    assert scope_metrics.scope.name == "scope"
    return {
        metric.name: len(metric.sum.data_points) for metric in scope_metrics.metrics
    }


def write(limit, *metrics):
    writer = RequestWriter(RESOURCE, SCOPE, limit)
    requests = []
    for name, count in metrics:
        requests += writer.add(sums_frame(name), b"", *points(count))
    return [*requests, *writer.finish()]


def test_points_of_one_metric_are_one_message():
    (request,) = write(10_000, ("a", 2), ("a", 3), ("b", 1))
    assert counts(request) == {"a": 5, "b": 1}
    assert request.points == 6


def test_full_request_is_followed_by_another():
    requests = write(200, ("a", 20), ("b", 2))
    assert [request.points for request in requests] == [9, 9, 4]
    assert [counts(request) for request in requests] == [
        {"a": 9},
        {"a": 9},
        {"a": 2, "b": 2},
    ]
    assert max(len(request.body) for request in requests) <= 200


def test_point_over_the_limit_goes_alone():
    requests = write(10, ("a", 2))
    assert [counts(request) for request in requests] == [{"a": 1}, {"a": 1}]


def test_nothing_is_no_request():
    assert write(100) == []
    assert write(100, ("a", 0)) == []


def test_metrics_are_wrapped():
    metrics = bytes_field(2, string_field(1, "up"))
    message = ExportMetricsServiceRequest.FromString(
        wrap_metrics(RESOURCE, SCOPE, metrics)
    )
    assert message.resource_metrics[0].scope_metrics[0].metrics[0].name == "up"
