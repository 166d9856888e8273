import json

from ebpf_net.exporters.json_text import render_window
from ebpf_net.metrics import METRICS
from ebpf_net.schema import ConnectFailure, Derived, Protocol, Sample, ZoneRelation
from ebpf_net.testing.windows import START_NS, WINDOW_NS, make_level, make_window


def lines(level, metrics=METRICS):
    window = make_window({"az_az": level})
    text = b"".join(render_window(window, metrics)).decode()
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def test_edge_is_one_object_with_its_metrics():
    level = make_level(
        [
            {"workload.name": 'a"\n\\é', "availability_zone": "z"},
            {"workload.name": "b", "availability_zone": "z"},
        ],
        [
            {
                "source": 0,
                "dest": 1,
                "bytes": 5,
                "packets": 2,
                "open": 1,
                "rtt_count": 4,
                "rtt_sum_us": 1000,
                "connect_failures": 3,
            },
            {"source": 1, "dest": 0, "protocol": int(Protocol.UDP), "bytes": 9},
        ],
        [
            (0, Sample.RTT, -50, 1),
            (0, Sample.RTT, -48, 2),
            (0, Sample.CONNECT_FAILURE, ConnectFailure.REFUSED, 2),
            (0, Sample.CONNECT_FAILURE, ConnectFailure.TIMED_OUT, 1),
        ],
    )
    times = {
        "start_time_unix_nano": START_NS,
        "time_unix_nano": START_NS + WINDOW_NS,
    }
    assert lines(level) == [
        {
            **times,
            "protocol": "tcp",
            "source.workload.name": 'a"\n\\é',
            "source.availability_zone": "z",
            "dest.workload.name": "b",
            "dest.availability_zone": "z",
            "az_equal": "true",
            "aggregation": "az_az",
            "tcp.bytes": 5,
            "tcp.packets": 2,
            "tcp.retrans": 0,
            "tcp.resets": 0,
            "tcp.syn_timeouts": 0,
            "tcp.new_sockets": 0,
            "tcp.active": 1,
            "tcp.rtt.average": 250,
            "tcp.rtt.num_measurements": 4,
            "tcp.rtt": {
                "scale": 2,
                "count": 4,
                "sum": 0.001,
                "zero_count": 1,
                "offset": -50,
                "bucket_counts": [1, 0, 2],
            },
            "tcp.connect.failures": {"refused": 2, "timed_out": 1},
        },
        {
            **times,
            "protocol": "udp",
            "source.workload.name": "b",
            "source.availability_zone": "z",
            "dest.workload.name": 'a"\n\\é',
            "dest.availability_zone": "z",
            "az_equal": "true",
            "aggregation": "az_az",
            "udp.bytes": 9,
            "udp.packets": 0,
            "udp.active": 0,
        },
    ]


def test_window_without_edges_has_no_line():
    assert lines(make_level([], [])) == []


def test_money_is_in_its_unit_and_of_the_protocol_of_the_line():
    level = make_level(
        [{}],
        [{}, {"protocol": int(Protocol.UDP)}],
        [
            (0, Derived.ZONE_COST, ZoneRelation.CROSS_ZONE, 500_000_000_000),
            (1, Derived.ZONE_BYTES, ZoneRelation.CROSS_REGION, 7),
            (1, Derived.ZONE_BYTES, ZoneRelation.INTERNET, 8),
        ],
    )
    first, second = lines(level)
    assert (first["protocol"], first["zone.cost"]) == ("tcp", {"cross_zone": 0.5})
    assert "zone.bytes" not in first
    assert second["zone.bytes"] == {"cross_region": 7, "internet": 8}
    assert "zone.cost" not in second
