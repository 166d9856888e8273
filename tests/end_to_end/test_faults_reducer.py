"""The reducer is killed and comes back: nothing is lost, nothing is counted twice."""

from tests.world.hosts import Network
from tests.world.load import REPLY_BYTES, REQUEST_BYTES, Load
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between

CONNECTIONS = 20_000


def test_killed_twice_under_load_the_totals_are_exact(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    load = Load(network)
    system.start_collector(load.client)
    system.start_collector(load.server)
    forth = between(load.client, load.server)
    back = between(load.server, load.client)
    running = load.start_short_connections(CONNECTIONS)
    for _ in range(2):
        counted = otel_collector.distinct_total("tcp.bytes", forth)
        otel_collector.wait_until(
            lambda c, counted=counted: c.distinct_total("tcp.bytes", forth) > counted
        )
        assert system.reducer is not None
        system.reducer.kill()
        system.start_reducer()
    running.result(120)
    system.finish()
    total = otel_collector.distinct_total
    assert total("tcp.bytes", forth) == CONNECTIONS * REQUEST_BYTES
    assert total("tcp.bytes", back) == CONNECTIONS * REPLY_BYTES
    assert total("tcp.new_sockets", forth) == CONNECTIONS


def test_away_while_the_collector_ends_and_starts_nothing_is_lost(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    load = Load(network)
    system.start_collector(load.client)
    assert system.reducer is not None
    system.reducer.kill()
    load.start_short_connections(500).result(60)
    system.stop_collector(load.client.name)
    system.start_reducer()
    system.start_collector(load.client)
    system.finish()
    forth = between(load.client, load.server.address)
    assert otel_collector.distinct_total("tcp.bytes", forth) == 500 * REQUEST_BYTES
