"""The receiver of the metrics is away for a minute."""

from tests.world.hosts import Network
from tests.world.load import REQUEST_BYTES, Load
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between
from tests.world.waiting import wait_until

AWAY_WINDOWS = 60


def test_what_happened_meanwhile_arrives_when_it_is_back(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    load = Load(network)
    system.start_collector(load.client)
    forth = between(load.client, load.server.address)
    load.start_short_connections(500).result(60)
    otel_collector.wait_until(
        lambda c: c.total("tcp.bytes", forth) == 500 * REQUEST_BYTES
    )
    otel_collector.stop()
    windows = system.count_internal("ebpf_net_reducer_windows")
    load.start_short_connections(500).result(60)
    wait_until(
        lambda: (
            system.count_internal("ebpf_net_reducer_windows") >= windows + AWAY_WINDOWS
        ),
        AWAY_WINDOWS + 30,
    )
    otel_collector.start()
    load.start_short_connections(500).result(60)
    otel_collector.wait_until(
        lambda c: c.total("tcp.bytes", forth) == 1500 * REQUEST_BYTES, 120
    )
    system.finish()
    assert otel_collector.total("tcp.bytes", forth) == 1500 * REQUEST_BYTES
    assert otel_collector.total("tcp.new_sockets", forth) == 1500
