from tests.world import udp_traffic
from tests.world.hosts import Network
from tests.world.udp_traffic import Datagrams


def test_each_datagram_is_answered(network: Network) -> None:
    server, client = network.host("server"), network.host("client")
    serving, calling = server.worker(), client.worker()
    serving.call(udp_traffic.serve_udp, server.address, 5000, 30)
    sources = client.add_addresses(20)
    total = calling.call(
        udp_traffic.exchange_datagrams, sources, server.address, 5000, 3, 10
    )
    assert total == Datagrams(60, 1800, 60, 600)
    served = serving.call(udp_traffic.read_served_udp)
    assert served == {source: Datagrams(3, 30, 3, 90) for source in sources}
