"""Connects that fail."""

from tests.world import tcp_traffic
from tests.world.hosts import Network
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between


def test_each_refused_connect_is_a_failure_with_its_reason(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    calling = client.worker()
    system.start_collector(client)
    error = calling.call(tcp_traffic.connect_in_vain, server.address, 5999, 500)
    assert error == "ConnectionRefusedError"
    system.finish()
    forth = between(client, server.address)
    failures = {**forth, "error.type": "refused"}
    assert otel_collector.total("tcp.connect.failures", forth) == 500
    assert otel_collector.total("tcp.connect.failures", failures) == 500
    assert otel_collector.total("tcp.new_sockets", forth) == 0
    back = between(server.address, client)
    assert otel_collector.total("tcp.resets", back) == 500


def test_a_silent_address_times_out_and_its_syns_are_counted(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    server.nft(
        "table inet silence { chain input { type filter hook input priority 0;"
        " tcp dport 5998 counter drop; }; }"
    )
    calling = client.worker()
    calling.call(tcp_traffic.limit_syn_retries, 2)
    system.start_collector(client)
    error = calling.call(tcp_traffic.connect_in_vain, server.address, 5998, 1)
    assert error == "TimeoutError"
    (received,) = server.nft_counts()
    system.finish()
    forth = between(client, server.address)
    reason = {**forth, "error.type": "timed_out"}
    assert otel_collector.total("tcp.connect.failures", reason) == 1
    assert otel_collector.total("tcp.syn_timeouts", forth) == received - 1
