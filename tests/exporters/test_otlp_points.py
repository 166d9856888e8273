import itertools

from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, NumberDataPoint

from ebpf_net.exporters.byte_columns import encode_texts
from ebpf_net.exporters.edge_blocks import cut_blocks, window_series
from ebpf_net.exporters.otlp_points import (
    BlockPoints,
    LevelAttributes,
    encode_attributes,
)
from ebpf_net.metrics import METRICS
from ebpf_net.testing.windows import make_level, make_window

BY_NAME = {metric.name: metric for metric in METRICS}


def test_attributes_are_fields_of_a_point():
    values = ["x", "é" * 100]
    column = encode_attributes(7, "pod", encode_texts(values))
    points = [NumberDataPoint.FromString(field) for field in column.to_pylist()]
    assert [
        (point.attributes[0].key, point.attributes[0].value.string_value)
        for point in points
    ] == [("pod", value) for value in values]


def block_points(edges):
    window = make_window({"id_id": make_level([{"ip": "::1"}], edges)})
    series = window_series(window)
    (block,) = cut_blocks(series)
    attributes = LevelAttributes("id_id", series["id_id"])
    return BlockPoints(block, attributes, window.end_ns)


def numbers(points):
    data, offsets = points
    # A Gauge and a Sum have their points in the same field.
    whole = Gauge.FromString(data[offsets[0] : offsets[-1]].tobytes())
    each = [
        Gauge.FromString(data[start:end].tobytes())
        for start, end in itertools.pairwise(offsets)
    ]
    assert [gauge.data_points[0] for gauge in each] == list(whole.data_points)
    return [getattr(point, point.WhichOneof("value")) for point in whole.data_points]


def test_metrics_share_a_template_one_after_another():
    points = block_points(
        [
            {"bytes": 1, "packets": 2**62, "rtt_sum_us": 3, "rtt_count": 2},
            {"bytes": -1, "packets": 0},
        ]
    )
    assert numbers(points.encode(BY_NAME["tcp.bytes"])) == [1, -1]
    assert numbers(points.encode(BY_NAME["tcp.rtt.average"])) == [1.5]
    assert numbers(points.encode(BY_NAME["tcp.packets"])) == [2**62, 0]


def test_metric_without_points_has_no_bytes():
    _, offsets = block_points([{}]).encode(BY_NAME["tcp.connect.failures"])
    assert offsets.tolist() == [0]
