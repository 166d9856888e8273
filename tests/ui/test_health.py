from ebpf_net.schema import InternalPoint
from ebpf_net.ui.health import Health, read_health


def point(name, value, **labels):
    return InternalPoint(name, value, tuple(labels.items()))


def test_health_adds_up_what_the_collectors_say():
    points = [
        point("ebpf_net.up", 1.0, module="reducer"),
        point("ebpf_net.connections", 2.0),
        point("ebpf_net.collector.lost", 3.0, host="a", reason="ring_full"),
        point("ebpf_net.collector.lost", 4.0, host="b", reason="ring_full"),
        point("ebpf_net.collector.lost", 0.0, host="b", reason="clock"),
        point("ebpf_net.collector.lost", 900.0, host="b", reason="ring_full_bytes"),
        point("ebpf_net.collector.lost", 50.0, host="b", reason="spool_full_rows"),
        point("ebpf_net.collector.lost", 1.0, host="b", reason="spool\x1b"),
        point("ebpf_net.reducer.late_rows", 4.0, reason="counted"),
        point("ebpf_net.reducer.late_rows", 1.0, reason="superseded"),
        point("ebpf_net.reducer.late_rows", 2.0, reason="too_old"),
        point("ebpf_net.reducer.late_rows", 3.0, reason="too_new"),
        point("ebpf_net.collector.signal", 1.0, signal="tcp", attach="tp_btf"),
        point("ebpf_net.collector.signal", 0.0, signal="udp_drops", attach=""),
    ]
    health = read_health(points)
    lost = (("ring_full", 7), ("spool\\x1b", 1), ("too_new", 3), ("too_old", 2))
    assert health == Health(2, lost, 5, ("udp_drops",))
    assert health.lost_total == 13


def test_without_points_nothing_is_lost_and_nobody_is_there():
    assert read_health([]) == Health(0, (), 0, ())
