import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf_net.exporters.edge_blocks import window_series
from ebpf_net.exporters.prometheus_text import render_internal, render_metrics
from ebpf_net.metrics import METRICS
from ebpf_net.schema import (
    ConnectFailure,
    Derived,
    InternalPoint,
    Protocol,
    Sample,
    ZoneRelation,
)
from ebpf_net.testing.windows import make_level, make_window

LINE = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
ESCAPES = {'\\"': '"', "\\n": "\n", "\\\\": "\\"}


def render(level, names=None, openmetrics=False):
    levels = window_series(make_window({"az_az": level}))
    metrics = [metric for metric in METRICS if names is None or metric.name in names]
    return render_metrics(levels, levels, metrics, openmetrics).decode()


def samples(text):
    """Return [(name, labels, value)]; every line must be well formed."""
    found = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = LINE.fullmatch(line).groups()
        found.append((name, parse_labels(labels), float(value)))
    return found


def parse_labels(text):
    return {
        name: re.sub(r"\\.", lambda escape: ESCAPES[escape.group()], value)
        for name, value in LABEL.findall(text)
    }


def test_counter_has_the_name_of_the_reference():
    level = make_level(
        [
            {"workload.name": "a", "availability_zone": "z1"},
            {"workload.name": "b", "availability_zone": "z2"},
        ],
        [{"source": 0, "dest": 1, "bytes": 2**40}],
    )
    assert render(level, ["tcp.bytes"]) == (
        "# HELP tcp_bytes Payload sent from source to dest,"
        " retransmissions not counted.\n"
        "# TYPE tcp_bytes counter\n"
        'tcp_bytes{sf_product="network-explorer",source_workload_name="a",'
        'source_availability_zone="z1",dest_workload_name="b",'
        'dest_availability_zone="z2",az_equal="false",aggregation="az_az"}'
        " 1099511627776\n"
    )


def test_openmetrics_counter_ends_with_total():
    level = make_level([{}], [{"bytes": 7}])
    assert render(level, ["tcp.bytes"], openmetrics=True) == (
        "# HELP tcp_bytes Payload sent from source to dest,"
        " retransmissions not counted.\n"
        "# TYPE tcp_bytes counter\n"
        "# UNIT tcp_bytes bytes\n"
        'tcp_bytes_total{sf_product="network-explorer",aggregation="az_az"} 7\n'
        "# EOF\n"
    )


def test_gauge_has_a_value_only_where_it_was_measured():
    level = make_level(
        [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
        [
            {"source": 0, "dest": 1, "rtt_sum_us": 100, "rtt_count": 3},
            {"source": 1, "dest": 0},
        ],
    )
    (sample,) = samples(render(level, ["tcp.rtt.average"]))
    assert sample[0] == "tcp_rtt_average"
    assert sample[1]["source_ip"] == "10.0.0.1"
    assert sample[2] == pytest.approx(100 / 3)


def test_histogram_is_cumulative():
    level = make_level(
        [{}],
        [{"rtt_sum_us": 3_000_000, "rtt_count": 8}],
        [
            (0, Sample.RTT, -100, 1),  # below the first bound
            (0, Sample.RTT, -5, 2),  # (0.42, 0.5]
            (0, Sample.RTT, -1, 1),  # (0.84, 1]
            (0, Sample.RTT, 0, 1),  # (1, 1.19]
            (0, Sample.RTT, 60, 2),  # above the last
        ],
    )
    found = samples(render(level, ["tcp.rtt"]))
    buckets = {
        labels["le"]: value for name, labels, value in found if name == "tcp_rtt_bucket"
    }
    # One sample has no bucket: it took no time.
    assert buckets["6.103515625e-05"] == 2
    assert buckets["0.25"] == 2
    assert buckets["0.5"] == 4
    assert buckets["1.0"] == 5
    assert buckets["2.0"] == 6
    assert buckets["8.0"] == 6
    assert buckets["+Inf"] == 8
    assert [(name, value) for name, _, value in found[-2:]] == [
        ("tcp_rtt_sum", 3.0),
        ("tcp_rtt_count", 8),
    ]
    bounds = [float(bound) for bound in buckets]
    assert bounds == sorted(bounds)
    assert math.isinf(bounds[-1])


def test_reasons_are_labels():
    level = make_level(
        [{}],
        [{"connect_failures": 5}],
        [
            (0, Sample.CONNECT_FAILURE, ConnectFailure.RESET, 2),
            (0, Sample.CONNECT_FAILURE, ConnectFailure.OTHER, 3),
        ],
    )
    found = samples(render(level, ["tcp.connect.failures"]))
    assert [(labels["error_type"], value) for _, labels, value in found] == [
        ("reset", 2),
        ("other", 3),
    ]


def test_family_lies_together_over_all_levels():
    level = make_level([{}], [{"bytes": 1}, {"protocol": int(Protocol.UDP)}])
    levels = window_series(make_window({"id_id": level, "az_az": level}))
    text = render_metrics(levels, levels, METRICS, False).decode()
    names = [name for name, _, _ in samples(text)]
    assert names == sorted(names, key=names.index)
    assert text.count("# TYPE tcp_bytes ") == 1
    assert names.count("tcp_bytes") == 2


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(codec="utf-8")))
def test_any_label_value_can_be_read_back(value):
    level = make_level([{"pod": value}], [{"bytes": 1}])
    # splitlines() knows more line ends than the format does.
    (line,) = [
        line
        for line in render(level, ["tcp.bytes"]).split("\n")
        if line and not line.startswith("#")
    ]
    labels = parse_labels(LINE.fullmatch(line).group(2))
    assert labels.get("source_pod", "") == value


def test_internal_metrics_have_their_type():
    points = [
        InternalPoint("ebpf_net.up", 1.0, (("module", "reducer"),)),
        InternalPoint("ebpf_net.reducer.stage_seconds", 1.5, (("stage", 'a"\n'),)),
        InternalPoint("ebpf_net.intake.bytes", 12.0),
    ]
    assert render_internal(points, False).decode() == (
        "# HELP ebpf_net_up 1 while it runs.\n"
        "# TYPE ebpf_net_up gauge\n"
        'ebpf_net_up{module="reducer"} 1\n'
        "# HELP ebpf_net_reducer_stage_seconds CPU time spent.\n"
        "# TYPE ebpf_net_reducer_stage_seconds counter\n"
        'ebpf_net_reducer_stage_seconds{stage="a\\"\\n"} 1.5\n'
        "# HELP ebpf_net_intake_bytes Body bytes read.\n"
        "# TYPE ebpf_net_intake_bytes counter\n"
        "ebpf_net_intake_bytes{} 12\n"
    )
    assert render_internal(points[2:], True).decode() == (
        "# HELP ebpf_net_intake_bytes Body bytes read.\n"
        "# TYPE ebpf_net_intake_bytes counter\n"
        "# UNIT ebpf_net_intake_bytes bytes\n"
        "ebpf_net_intake_bytes_total{} 12\n"
        "# EOF\n"
    )


def test_nothing_to_show_is_an_empty_text():
    assert render_metrics({}, {}, METRICS, False) == b""
    assert render_metrics({}, {}, METRICS, True) == b"# EOF\n"


def test_metric_of_all_protocols_tells_them_apart():
    level = make_level(
        [{}],
        [{}, {"protocol": int(Protocol.UDP)}],
        [
            (0, Derived.ZONE_BYTES, ZoneRelation.INTERNET, 5),
            (1, Derived.ZONE_BYTES, ZoneRelation.SAME_ZONE, 7),
            (1, Derived.ZONE_COST, ZoneRelation.SAME_ZONE, 1_250_000_000_003),
        ],
    )
    text = render(level, ["zone.bytes", "zone.cost"])
    assert text.count("# TYPE zone_bytes counter") == 1
    assert [
        (
            name,
            labels["network_transport"],
            labels["zone_relation"],
            value,
        )
        for name, labels, value in samples(text)
    ] == [
        ("zone_bytes", "tcp", "internet", 5),
        ("zone_bytes", "udp", "same_zone", 7),
        ("zone_cost", "udp", "same_zone", 1.250000000003),
    ]
