from tests.world import tcp_traffic
from tests.world.hosts import Network


def test_kernel_and_programs_count_the_same(network: Network) -> None:
    server, client = network.host("server"), network.host("client")
    serving, calling = server.worker(), client.worker()
    serving.call(tcp_traffic.serve, server.address, 5000, 100, 2000)
    calling.call(tcp_traffic.open_connections, server.address, 5000, 3)
    calling.call(tcp_traffic.exchange, 7, 100, 2000)
    sent, received = 3 * 7 * 100, 3 * 7 * 2000
    served = serving.call(tcp_traffic.read_served)
    assert (served.connections, served.bytes_received, served.bytes_sent) == (
        3,
        sent,
        received,
    )
    info = calling.call(tcp_traffic.read_client_info)
    assert (info.bytes_sent, info.bytes_received) == (sent, received)
    serving_info = serving.call(tcp_traffic.read_server_info)
    assert serving_info.segments_received == info.segments_sent
    # Three SYN-ACKs were sent before there was a socket to count them.
    assert serving_info.segments_sent + 3 == info.segments_received
    assert info.retransmits == 0
    assert info.rtt_us > 0
