from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
)

from ebpf_net.exporters.otlp_encoding import (
    resource_metrics_prefix,
    scope_metrics_prefix,
)
from ebpf_net.exporters.otlp_internal import encode_internal
from ebpf_net.schema import InternalPoint

PREFIXES = (
    resource_metrics_prefix({"service.name": "test"}),
    scope_metrics_prefix(),
)


def test_counters_are_cumulative_sums_and_the_rest_gauges():
    request = encode_internal(
        [
            InternalPoint("ebpf_net.intake.rows", 7, (("table", "edges"),)),
            InternalPoint("ebpf_net.clock_offset_ns", -5),
            InternalPoint("ebpf_net.reducer.stage_seconds", 2.0, (("stage", "x"),)),
        ],
        PREFIXES,
        start_ns=10,
        now_ns=20,
    )
    assert request.points == 3
    message = ExportMetricsServiceRequest.FromString(request.body)
    assert message.SerializeToString() == request.body
    (resource_metrics,) = message.resource_metrics
    assert resource_metrics.resource.attributes[0].value.string_value == "test"
    rows, offset, seconds = resource_metrics.scope_metrics[0].metrics
    assert rows.name == "ebpf_net.intake.rows"
    assert rows.sum.is_monotonic
    assert rows.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    (point,) = rows.sum.data_points
    assert (point.start_time_unix_nano, point.time_unix_nano) == (10, 20)
    assert point.as_int == 7
    assert point.attributes[0].key == "table"
    assert offset.gauge.data_points[0].as_int == -5
    assert offset.unit == "ns"
    assert seconds.sum.data_points[0].as_double == 2.0
