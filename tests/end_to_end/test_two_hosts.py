"""Two hosts, each with a collector or not: nothing is counted twice or missed."""

import pytest
from tests.world import tcp_traffic
from tests.world.hosts import Network
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between

REQUEST, REPLY = 300, 3000


@pytest.mark.parametrize("reporting", ["both", "client", "server"])
def test_totals_are_the_same_whoever_reports(
    network: Network, otel_collector: OtelCollector, system: System, reporting: str
) -> None:
    client, server = network.host("client"), network.host("server")
    calling, serving = client.worker(), server.worker()
    names: dict[str, str] = {"client": client.address, "server": server.address}
    for host in (client, server):
        if reporting in ("both", host.name):
            system.start_collector(host)
            names[host.name] = host.name
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    calling.call(tcp_traffic.open_connections, server.address, 5000, 5)
    calling.call(tcp_traffic.exchange, 100, REQUEST, REPLY)
    calling.call(tcp_traffic.close_connections)
    system.finish()
    forth = between(names["client"], names["server"])
    back = between(names["server"], names["client"])
    everything = {"aggregation": "id_id"}
    assert otel_collector.total("tcp.bytes", forth) == 500 * REQUEST
    assert otel_collector.total("tcp.bytes", back) == 500 * REPLY
    assert otel_collector.total("tcp.bytes", everything) == 500 * (REQUEST + REPLY)
    opener = forth if reporting != "server" else back
    assert otel_collector.total("tcp.new_sockets", opener) == 5


def test_the_other_end_takes_over_when_a_collector_dies(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    calling, serving = client.worker(), server.worker()
    system.start_collector(client)
    system.start_collector(server)
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    calling.call(tcp_traffic.open_connections, server.address, 5000, 5)
    calling.call(tcp_traffic.exchange, 100, REQUEST, REPLY)
    forth = between(client, server)
    otel_collector.wait_until(
        lambda c: c.total("tcp.bytes", forth) == 500 * REQUEST,
    )
    system.collectors.pop(client.name).kill()
    otel_collector.wait_until(
        lambda c: (
            c.total("tcp.bytes", between(client.address, server)) > 0
            or calling.call(tcp_traffic.exchange, 1, REQUEST, REPLY)
        )
    )
    system.finish()
    info = calling.call(tcp_traffic.read_client_info)
    to_server = {"aggregation": "id_id", "dest.id": server.name}
    assert otel_collector.total("tcp.bytes", to_server) <= info.bytes_sent
