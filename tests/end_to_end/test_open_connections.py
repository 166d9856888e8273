"""Connections that stay open: TCP_INFO is the witness, for packets too."""

import pytest
from tests.world import tcp_traffic
from tests.world.hosts import Host, Network
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between
from tests.world.tcp_info import TcpInfo

CONNECTIONS, ROUNDS = 50, 20
REQUEST, REPLY = 700, 9000


def _assert_counted(
    otel_collector: OtelCollector, client: Host, server: Host, info: TcpInfo
) -> None:
    forth, back = between(client, server), between(server, client)
    assert otel_collector.total("tcp.bytes", forth) == info.bytes_sent
    assert otel_collector.total("tcp.bytes", back) == info.bytes_received
    assert otel_collector.total("tcp.packets", forth) == info.segments_sent
    assert otel_collector.total("tcp.packets", back) == info.segments_received


def _wait_active(otel_collector: OtelCollector, client: Host, server: Host) -> None:
    for ends in (between(client, server), between(server, client)):
        otel_collector.wait_until(
            lambda c, ends=ends: c.last("tcp.active", ends) == CONNECTIONS
        )


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_bytes_packets_and_open_sockets_equal_what_the_kernel_says(
    network: Network, otel_collector: OtelCollector, system: System, family: str
) -> None:
    client, server = network.host("client"), network.host("server")
    calling, serving = client.worker(), server.worker()
    system.start_collector(client)
    system.start_collector(server)
    address = server.address if family == "IPv4" else server.address6
    serving.call(tcp_traffic.serve, address, 5000, REQUEST, REPLY)
    calling.call(tcp_traffic.open_connections, address, 5000, CONNECTIONS)
    calling.call(tcp_traffic.exchange, ROUNDS, REQUEST, REPLY)
    info = calling.call(tcp_traffic.read_client_info)
    _wait_active(otel_collector, client, server)
    system.finish()
    assert info.bytes_sent == CONNECTIONS * ROUNDS * REQUEST
    assert info.bytes_received == CONNECTIONS * ROUNDS * REPLY
    _assert_counted(otel_collector, client, server, info)
    forth = between(client, server)
    assert otel_collector.total("tcp.new_sockets", forth) == CONNECTIONS


def test_sockets_open_before_the_start_are_active_and_not_new(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    calling, serving = client.worker(), server.worker()
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    calling.call(tcp_traffic.open_connections, server.address, 5000, CONNECTIONS)
    calling.call(tcp_traffic.exchange, ROUNDS, REQUEST, REPLY)
    before = calling.call(tcp_traffic.read_client_info)
    system.start_collector(client)
    system.start_collector(server)
    calling.call(tcp_traffic.exchange, ROUNDS, REQUEST, REPLY)
    after = calling.call(tcp_traffic.read_client_info)
    _wait_active(otel_collector, client, server)
    system.finish()
    _assert_counted(otel_collector, client, server, after - before)
    forth = between(client, server)
    assert otel_collector.total("tcp.new_sockets", forth) == 0
    (process,) = {
        point.attributes["source.process.name"]
        for point in otel_collector.points("tcp.bytes", forth)
    }
    assert process.startswith("python")


def test_connections_that_close_are_no_longer_active(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    calling, serving = client.worker(), server.worker()
    system.start_collector(client)
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    calling.call(tcp_traffic.open_connections, server.address, 5000, CONNECTIONS)
    forth = between(client, server.address)
    otel_collector.wait_until(lambda c: c.last("tcp.active", forth) == CONNECTIONS)
    calling.call(tcp_traffic.close_connections)
    otel_collector.wait_until(lambda c: c.last("tcp.active", forth) == 0)
