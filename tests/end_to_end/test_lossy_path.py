"""A path of known delay and loss: TCP_INFO says what was sent again and how long."""

import pytest
from tests.world import tcp_traffic
from tests.world.hosts import Network
from tests.world.otel_collector import OtelCollector
from tests.world.slow_path import join_by_slow_path
from tests.world.system import System, between
from tests.world.waiting import wait_until


def test_retransmits_and_rtt_of_both_ends_equal_what_the_kernel_says(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    path = join_by_slow_path(client, server, delay_seconds=0.01, drop_every=20)
    calling, serving = client.worker(), server.worker()
    system.start_collector(client)
    system.start_collector(server)
    serving.call(tcp_traffic.serve, path.right_address, 5000, 2000, 5000)
    calling.call(tcp_traffic.open_connections, path.right_address, 5000, 1)
    calling.call(tcp_traffic.exchange, 100, 2000, 5000)
    # The last acknowledgement may be lost, and data be sent once more.
    wait_until(lambda: not calling.call(tcp_traffic.read_client_info).unacked, 10)
    wait_until(lambda: not serving.call(tcp_traffic.read_server_info).unacked, 10)
    there = calling.call(tcp_traffic.read_client_info)
    here = serving.call(tcp_traffic.read_server_info)
    dropped = path.read_dropped()
    system.finish()
    assert there.retransmits + here.retransmits >= dropped > 0
    forth, back = between(client, server), between(server, client)
    # TCP_INFO has a SYN or SYN-ACK that was sent again among the retransmits.
    for direction, info in ((forth, there), (back, here)):
        segments = otel_collector.total("tcp.retrans", direction)
        handshakes = otel_collector.total("tcp.syn_timeouts", direction)
        assert segments + handshakes == info.retransmits
    assert otel_collector.total("tcp.bytes", forth) == there.bytes_sent
    assert otel_collector.total("tcp.bytes", back) == there.bytes_received
    assert otel_collector.last("tcp.rtt.average", forth) == there.rtt_us
    assert otel_collector.last("tcp.rtt.average", back) == here.rtt_us
    assert there.rtt_us >= 20_000


def test_connect_duration_is_one_round_trip(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    path = join_by_slow_path(client, server, delay_seconds=0.05, drop_every=0)
    calling, serving = client.worker(), server.worker()
    system.start_collector(client)
    serving.call(tcp_traffic.serve, path.right_address, 5000, 10, 10)
    calling.call(tcp_traffic.open_connections, path.right_address, 5000, 10)
    system.finish()
    forth = between(client, path.right_address)
    points = otel_collector.points("tcp.connect.duration", forth)
    assert sum(point.value for point in points) == 10
    seconds = sum(point.histogram["sum"] for point in points)
    assert seconds == pytest.approx(10 * 0.1, rel=0.1)
