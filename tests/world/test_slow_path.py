from tests.world import tcp_traffic
from tests.world.hosts import Network
from tests.world.slow_path import join_by_slow_path


def test_each_dropped_segment_is_sent_again_over_the_delayed_path(
    network: Network,
) -> None:
    server, client = network.host("server"), network.host("client")
    path = join_by_slow_path(client, server, delay_seconds=0.01, drop_every=20)
    serving, calling = server.worker(), client.worker()
    serving.call(tcp_traffic.serve, path.right_address, 5000, 500, 500)
    calling.call(tcp_traffic.open_connections, path.right_address, 5000, 1)
    calling.call(tcp_traffic.exchange, 60, 500, 500)
    info = calling.call(tcp_traffic.read_client_info)
    assert path.read_dropped() == 6
    # Who sent it sends it again; a lost reply may have its request sent again, too.
    served = serving.call(tcp_traffic.read_server_info)
    assert info.retransmits + served.retransmits >= 6
    assert info.rtt_us >= 20_000
    assert (info.bytes_sent, info.bytes_received) == (60 * 500, 60 * 500)
