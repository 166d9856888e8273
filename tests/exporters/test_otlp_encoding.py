import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from ebpf_net.exporters.edge_blocks import window_series
from ebpf_net.exporters.otlp_encoding import (
    SCOPE_NAME,
    Part,
    Temporality,
    default_resource,
    encode_parts,
    package_version,
    resource_metrics_prefix,
    scope_metrics_prefix,
)
from ebpf_net.exporters.otlp_requests import REQUEST_BYTES, RequestWriter
from ebpf_net.metrics import METRICS, select_metrics
from ebpf_net.schema import (
    LEVEL_EDGES,
    LEVELS,
    NODE_LABELS,
    ConnectFailure,
    Derived,
    Drop,
    Protocol,
    Sample,
    Window,
    ZoneRelation,
)
from ebpf_net.testing.otlp_reference import build_request
from ebpf_net.testing.windows import make_large_level, make_level, make_window

CHECKOUT = {
    "workload.name": "checkout",
    "availability_zone": "eu-1",
    "ip": "10.0.0.1",
    "id": "a",
}
DATABASE = {"workload.name": "database", "availability_zone": "eu-2", "ip": "10.0.0.2"}


def encode(window, metrics=METRICS, limit=REQUEST_BYTES):
    writer = RequestWriter(
        resource_metrics_prefix(default_resource()), scope_metrics_prefix(), limit
    )
    part = Part(window_series(window), window.end_ns, metrics, Temporality.DELTA)
    return list(encode_parts([part], writer))


def reference(window, metrics=METRICS):
    return build_request(
        window, metrics, default_resource(), (SCOPE_NAME, package_version())
    )


def decode(requests):
    return [
        ExportMetricsServiceRequest.FromString(request.body) for request in requests
    ]


def decoded_metrics(requests):
    return [
        metric
        for request in decode(requests)
        for resource_metrics in request.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
    ]


def points_by_metric(requests):
    points = {}
    for metric in decoded_metrics(requests):
        data = getattr(metric, metric.WhichOneof("data"))
        points.setdefault(metric.name, []).extend(
            point.SerializeToString() for point in data.data_points
        )
    return points


texts = st.text(st.characters(codec="utf-8"), max_size=200) | st.just("")
counts = st.integers(0, 2**40)


@st.composite
def levels(draw):
    nodes = draw(
        st.lists(
            st.dictionaries(st.sampled_from(NODE_LABELS), texts), min_size=1, max_size=4
        )
    )
    node_numbers = st.integers(0, len(nodes) - 1)
    keys = draw(
        st.lists(
            st.tuples(node_numbers, node_numbers, st.sampled_from(Protocol)),
            unique=True,
            max_size=6,
        )
    )
    columns = [name for name, kind in LEVEL_EDGES if kind == "int64"]
    edges = [
        {"source": source, "dest": dest, "protocol": int(protocol)}
        | draw(st.dictionaries(st.sampled_from(columns), counts))
        for source, dest, protocol in keys
    ]
    buckets = {
        Sample.RTT: st.integers(-80, 40),
        Sample.CONNECT_DURATION: st.integers(-80, 40),
        Sample.CONNECT_FAILURE: st.sampled_from(ConnectFailure),
        Sample.DROP: st.sampled_from(Drop),
        Derived.ZONE_BYTES: st.sampled_from(ZoneRelation),
        Derived.ZONE_COST: st.sampled_from(ZoneRelation),
    }
    sample_keys = st.tuples(
        st.integers(0, max(len(edges) - 1, 0)), st.sampled_from(list(buckets))
    ).flatmap(lambda pair: st.tuples(*map(st.just, pair), buckets[pair[1]]))
    chosen = draw(st.sets(sample_keys, max_size=12)) if edges else set()
    samples = [
        (edge, int(kind), int(bucket), draw(st.integers(0, 2**35)))
        for edge, kind, bucket in chosen
    ]
    return make_level(nodes, edges, samples)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(LEVELS), levels(), max_size=2))
def test_bytes_equal_those_of_protobuf_objects(window_levels):
    window = make_window(window_levels)
    expected = reference(window)
    bodies = [request.body for request in encode(window)]
    if expected.resource_metrics[0].scope_metrics[0].metrics:
        assert bodies == [expected.SerializeToString()]
    else:
        assert bodies == []


@settings(max_examples=30, deadline=None)
@given(levels(), st.integers(700, 5_000))
def test_small_requests_carry_the_same_points(level, limit):
    window = make_window({"az_az": level})
    requests = encode(window, limit=limit)
    expected = reference(window)
    metrics = expected.resource_metrics[0].scope_metrics[0].metrics
    if metrics:
        whole = [type("Whole", (), {"body": expected.SerializeToString()})]
        assert points_by_metric(requests) == points_by_metric(whole)
    for request in requests:
        assert len(request.body) <= limit or request.points == 1


def test_large_window_is_split_below_the_limit():
    window = make_window({"id_id": make_large_level(200, 5_000)})
    metrics = select_metrics(disable=["udp.all"])
    requests = encode(window, metrics)
    assert max(len(request.body) for request in requests) <= REQUEST_BYTES
    assert sum(request.points for request in requests) == 5_000 * 9
    decoded = points_by_metric(requests)
    assert {name: len(points) for name, points in decoded.items()} == {
        "tcp.bytes": 5_000,
        "tcp.packets": 5_000,
        "tcp.retrans": 5_000,
        "tcp.resets": 5_000,
        "tcp.syn_timeouts": 5_000,
        "tcp.new_sockets": 5_000,
        "tcp.active": 5_000,
        "tcp.rtt.average": 5_000,
        "tcp.rtt": 5_000,
    }
    assert decoded == points_by_metric(
        [type("Whole", (), {"body": reference(window, metrics).SerializeToString()})]
    )


def attributes_of(point):
    return {item.key: item.value.string_value for item in point.attributes}


def test_empty_labels_and_unknown_zones_have_no_attribute():
    level = make_level([CHECKOUT, {"ip": "10.0.0.9"}], [{"source": 0, "dest": 1}])
    (metric, *_) = decoded_metrics(encode(make_window({"id_id": level})))
    assert attributes_of(metric.sum.data_points[0]) == {
        "source.workload.name": "checkout",
        "source.availability_zone": "eu-1",
        "source.id": "a",
        "source.ip": "10.0.0.1",
        "dest.ip": "10.0.0.9",
        "aggregation": "id_id",
        "sf_product": "network-explorer",
    }


@pytest.mark.parametrize(("dest", "expected"), [(0, "true"), (1, "false")])
def test_known_zones_are_compared(dest, expected):
    level = make_level([CHECKOUT, DATABASE], [{"source": 0, "dest": dest}])
    (metric, *_) = decoded_metrics(encode(make_window({"az_az": level})))
    assert attributes_of(metric.sum.data_points[0])["az_equal"] == expected


def test_reasons_are_attributes():
    level = make_level(
        [CHECKOUT, DATABASE],
        [{"source": 0, "dest": 1, "connect_failures": 5}],
        [
            (0, Sample.CONNECT_FAILURE, ConnectFailure.REFUSED, 3),
            (0, Sample.CONNECT_FAILURE, ConnectFailure.TIMED_OUT, 2),
        ],
    )
    window = make_window({"az_az": level})
    metrics = {metric.name: metric for metric in decoded_metrics(encode(window))}
    points = metrics["tcp.connect.failures"].sum.data_points
    assert [(attributes_of(point)["error.type"], point.as_int) for point in points] == [
        ("refused", 3),
        ("timed_out", 2),
    ]


def test_histogram_has_seconds_and_contiguous_buckets():
    rtts = {"rtt_count": 6, "rtt_sum_us": 1_500_000, "rtt_max_us": 1_100_000}
    rtts["rtt_min_us"] = 7  # the kernel's: it may be below all samples
    level = make_level(
        [CHECKOUT, DATABASE],
        [{"source": 0, "dest": 1, **rtts}],
        [(0, Sample.RTT, -3, 2), (0, Sample.RTT, 0, 3)],
    )
    window = make_window({"az_az": level})
    metrics = {metric.name: metric for metric in decoded_metrics(encode(window))}
    point = metrics["tcp.rtt"].exponential_histogram.data_points[0]
    assert (point.count, point.sum, point.scale, point.zero_count) == (6, 1.5, 2, 1)
    assert (point.HasField("min"), point.max) == (False, 1.1)
    assert point.positive.offset == -3
    assert list(point.positive.bucket_counts) == [2, 0, 0, 3]
    average = metrics["tcp.rtt.average"].gauge.data_points[0]
    assert average.as_double == 250_000.0


def test_window_without_edges_has_no_request():
    assert encode(Window(start_ns=1, end_ns=2, levels={})) == []
    assert encode(make_window({"id_id": make_level([], [])})) == []
