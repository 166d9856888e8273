from ebpf_net.exporters.latest_gauges import LatestGauges
from ebpf_net.testing.windows import START_NS, WINDOW_NS, make_level, make_window


def window(number, value):
    level = make_level([{}], [{"open": value}])
    return make_window({"az_az": level}, START_NS + number * WINDOW_NS)


def open_sockets(gauges):
    return gauges.levels()["az_az"].level.edges.column("open").to_pylist()


def test_next_window_replaces_the_last():
    gauges = LatestGauges(10)
    assert gauges.add(window(0, 3))
    assert gauges.add(window(1, 4))
    assert not gauges.merged
    assert open_sockets(gauges) == [4]


def test_window_of_the_same_time_is_added():
    gauges = LatestGauges(10)
    gauges.add(window(0, 3))
    assert gauges.add(window(0, 4))
    assert gauges.merged
    assert open_sockets(gauges) == [7]


def test_older_window_is_not_taken():
    gauges = LatestGauges(10)
    gauges.add(window(1, 3))
    assert not gauges.add(window(0, 4))
    assert open_sockets(gauges) == [3]
