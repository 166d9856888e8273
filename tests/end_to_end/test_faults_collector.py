"""The collector ends, is killed, and comes back."""

import time
from pathlib import Path

import pytest
from tests.world.hosts import Network
from tests.world.load import REQUEST_BYTES, Load
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between
from tests.world.waiting import wait_until

WINDOW_SECONDS = 30


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


@pytest.mark.parametrize("killed", [False, True])
def test_restarted_within_a_window_the_servers_end_tells_what_it_missed(
    network: Network, otel_collector: OtelCollector, tmp_path: Path, killed: bool
) -> None:
    with System(tmp_path, otel_collector) as system:
        system.start_reducer("--interval-seconds", str(WINDOW_SECONDS))
        load = Load(network)
        load.connect(10)
        system.start_collector(load.server)
        system.start_collector(load.client)
        forth = between(load.client, load.server)
        wait_until(lambda: time.time() % WINDOW_SECONDS < 4, 2 * WINDOW_SECONDS)
        window = time.time() // WINDOW_SECONDS
        load.exchange(20)
        if killed:
            system.collectors.pop(load.client.name).kill()
        else:
            system.stop_collector(load.client.name)
        load.exchange(7)
        load.connect(5)
        load.exchange(1)
        system.start_collector(load.client)
        load.exchange(20)
        load.connect(2)
        assert time.time() // WINDOW_SECONDS == window, "this took more than a window"
        system.finish()
    expected = (10 * 27 + 15 * 21) * REQUEST_BYTES
    assert otel_collector.total("tcp.bytes", forth) == expected
    assert otel_collector.total("tcp.new_sockets", forth) == 7
