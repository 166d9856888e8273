import urllib3
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint, Sum

from tests.world.otel_collector import OtelCollector


def test_a_posted_point_comes_out_with_its_attributes(
    otel_collector: OtelCollector,
) -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    point = NumberDataPoint(as_int=41, start_time_unix_nano=1, time_unix_nano=2)
    attribute = point.attributes.add()
    attribute.key = "source.id"
    attribute.value.string_value = "here"
    metrics.append(
        Metric(
            name="tcp.bytes", sum=Sum(data_points=[point], aggregation_temporality=1)
        )
    )
    urllib3.request(
        "POST",
        f"{otel_collector.http_endpoint}/v1/metrics",
        body=request.SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
    )
    otel_collector.wait_until(lambda c: c.points())
    assert otel_collector.total("tcp.bytes", {"source.id": "here"}) == 41
    assert otel_collector.total("tcp.bytes", {"source.id": "there"}) == 0
