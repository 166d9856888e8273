"""UDP: the programs' own counts are the witness."""

from tests.world import udp_traffic
from tests.world.hosts import Network
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between
from tests.world.udp_traffic import Datagrams

PEERS, ROUNDS = 4000, 3
SIZE, REPLY = 120, 480


def _sum_by(
    otel_collector: OtelCollector, metric: str, end: str, attributes: dict[str, str]
) -> dict[str, float]:
    sums: dict[str, float] = {}
    for point in otel_collector.points(metric, attributes):
        peer = point.attributes[f"{end}.id"]
        sums[peer] = sums.get(peer, 0) + point.value
    return sums


def test_one_socket_with_four_thousand_peers_is_right_for_each_of_them(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    peers = client.add_addresses(PEERS)
    calling, serving = client.worker(), server.worker()
    system.start_collector(server)
    serving.call(udp_traffic.serve_udp, server.address, 5000, REPLY)
    calling.call(
        *(udp_traffic.exchange_datagrams, peers, server.address, 5000),
        *(ROUNDS, SIZE),
    )
    served = serving.call(udp_traffic.read_served_udp)
    system.finish()
    one = Datagrams(ROUNDS, ROUNDS * SIZE, ROUNDS, ROUNDS * REPLY)
    assert served == dict.fromkeys(peers, one)
    forth = {"aggregation": "id_id", "dest.id": server.name}
    back = {"aggregation": "id_id", "source.id": server.name}
    for metric, attributes, end, expected in (
        ("udp.packets", forth, "source", ROUNDS),
        ("udp.bytes", forth, "source", ROUNDS * SIZE),
        ("udp.packets", back, "dest", ROUNDS),
        ("udp.bytes", back, "dest", ROUNDS * REPLY),
    ):
        sums = _sum_by(otel_collector, metric, end, attributes)
        assert sums == dict.fromkeys(peers, expected)


def test_both_ends_over_ipv6(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    calling, serving = client.worker(), server.worker()
    system.start_collector(client)
    system.start_collector(server)
    serving.call(udp_traffic.serve_udp, server.address6, 5000, REPLY)
    total = calling.call(
        *(udp_traffic.exchange_datagrams, [client.address6] * 20, server.address6),
        *(5000, 50, SIZE),
    )
    system.finish()
    assert total == Datagrams(1000, 1000 * REPLY, 1000, 1000 * SIZE)
    forth, back = between(client, server), between(server, client)
    assert otel_collector.total("udp.packets", forth) == total.sent
    assert otel_collector.total("udp.bytes", forth) == total.bytes_sent
    assert otel_collector.total("udp.packets", back) == total.received
    assert otel_collector.total("udp.bytes", back) == total.bytes_received


def test_each_datagram_that_found_the_buffer_full_is_a_drop(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    calling, serving = client.worker(), server.worker()
    system.start_collector(server)
    serving.call(udp_traffic.bind_without_reading, server.address, 5000, 65_536)
    calling.call(udp_traffic.send_datagrams, server.address, 5000, 2000, 1000)
    read = serving.call(udp_traffic.count_readable)
    system.finish()
    forth = between(client.address, server)
    full = {**forth, "reason": "receive_buffer"}
    assert 0 < read < 2000
    assert otel_collector.total("udp.drops", full) == 2000 - read
    assert otel_collector.total("udp.drops", forth) == 2000 - read
