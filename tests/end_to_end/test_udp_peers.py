"""UDP sockets that are servers to each other, as those of gossip protocols and NTP."""

import pytest
from tests.world import udp_traffic
from tests.world.hosts import Network
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between

PORT = 8301


@pytest.mark.parametrize("first", ["both", "one"])
def test_datagrams_between_two_fixed_ports_count_once(
    network: Network, otel_collector: OtelCollector, system: System, first: str
) -> None:
    left, right = network.host("left"), network.host("right")
    hosts = [(left, right), (right, left)]
    workers = {host.name: host.worker() for host in (left, right)}
    for host in (left, right):
        system.start_collector(host)
        workers[host.name].call(
            udp_traffic.bind_without_reading, host.address, PORT, 1 << 20
        )
    if first == "both":
        # Neither is bound to be heard, so each socket's first datagram is its own.
        for near, far in hosts:
            workers[near.name].call(udp_traffic.send_bound, far.address, 9, 1, 10)
    workers[left.name].call(udp_traffic.send_bound, right.address, PORT, 30, 100)
    workers[right.name].call(udp_traffic.send_bound, left.address, PORT, 40, 1000)
    assert workers[left.name].call(udp_traffic.count_readable) == 40
    assert workers[right.name].call(udp_traffic.count_readable) == 30
    system.finish()
    extra = 10 if first == "both" else 0
    everything = {"aggregation": "id_id"}
    for near, far, count, size in ((left, right, 30, 100), (right, left, 40, 1000)):
        direction = between(near, far)
        assert otel_collector.total("udp.packets", direction) == count
        assert otel_collector.total("udp.bytes", direction) == count * size
    assert otel_collector.total("udp.bytes", everything) == 43_000 + 2 * extra
