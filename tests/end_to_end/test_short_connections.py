"""Connections so short that no scan of open sockets ever sees them."""

from tests.world import tcp_traffic
from tests.world.hosts import Network
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between

CONNECTIONS = 20_000
REQUEST, REPLY = 100, 300


def test_twenty_thousand_are_counted_to_the_unit(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    calling, serving = client.worker(), server.worker()
    system.start_collector(client)
    system.start_collector(server)
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    calling.call(
        *(tcp_traffic.make_short_connections, server.address, 5000),
        *(CONNECTIONS, REQUEST, REPLY),
    )
    served = serving.call(tcp_traffic.read_served)
    assert served.connections == CONNECTIONS
    system.finish()
    forth, back = between(client, server), between(server, client)
    total = otel_collector.total
    assert total("tcp.bytes", forth) == served.bytes_received == CONNECTIONS * REQUEST
    assert total("tcp.bytes", back) == served.bytes_sent == CONNECTIONS * REPLY
    assert total("tcp.new_sockets", forth) == CONNECTIONS
    assert total("tcp.new_sockets", back) == CONNECTIONS
    assert total("tcp.connect.duration", forth) == CONNECTIONS
    assert otel_collector.last("tcp.active", forth) == 0
