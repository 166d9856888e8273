"""The collector ends, is killed, and comes back."""

from tests.world.hosts import Network
from tests.world.load import REQUEST_BYTES, Load
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between


def test_restarted_between_exchanges_each_byte_is_counted_once(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    load = Load(network)
    load.connect(10)
    forth = between(load.client, load.server.address)
    for round_number in range(1, 4):
        system.start_collector(load.client)
        load.exchange(20)
        system.stop_collector(load.client.name)
        expected = round_number * 200 * REQUEST_BYTES
        otel_collector.wait_until(
            lambda c, expected=expected: c.total("tcp.bytes", forth) == expected
        )
    system.finish()
    assert otel_collector.total("tcp.bytes", forth) == 3 * 200 * REQUEST_BYTES
    assert otel_collector.total("tcp.new_sockets", forth) == 0


def test_killed_it_leaves_out_only_what_happened_while_it_was_away(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    load = Load(network)
    load.connect(10)
    forth = between(load.client, load.server.address)
    system.start_collector(load.client)
    load.exchange(20)
    otel_collector.wait_until(
        lambda c: c.total("tcp.bytes", forth) == 200 * REQUEST_BYTES
    )
    system.collectors.pop(load.client.name).kill()
    load.exchange(7)
    system.start_collector(load.client)
    load.exchange(20)
    system.finish()
    assert otel_collector.total("tcp.bytes", forth) == 400 * REQUEST_BYTES
    assert otel_collector.last("tcp.active", forth) == 10
