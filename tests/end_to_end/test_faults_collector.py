"""The collector ends, is killed, and comes back."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

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
        # Both ends have looked at the end of the former window by then, or it is told.
        wait_until(lambda: 2 < time.time() % WINDOW_SECONDS < 6, 2 * WINDOW_SECONDS)
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
    assert count_handovers(otel_collector) == 0  # nothing moved at one
    assert otel_collector.total("tcp.bytes", forth) == expected
    assert otel_collector.total("tcp.new_sockets", forth) == 7


@pytest.mark.parametrize("killed", [False, True])
def test_restarted_while_data_flows_what_may_differ_is_counted(
    network: Network, otel_collector: OtelCollector, tmp_path: Path, killed: bool
) -> None:
    with System(tmp_path, otel_collector) as system:
        system.start_reducer("--interval-seconds", "3", "--lateness-seconds", "5")
        load = Load(network)
        load.connect(10)
        system.start_collector(load.server)
        system.start_collector(load.client)
        forth = between(load.client, load.server)
        with flowing(load) as rounds:
            wait_for_windows(otel_collector, forth, 3)  # the client's end tells all
            if killed:
                system.collectors.pop(load.client.name).kill()
            else:
                system.stop_collector(load.client.name)
            system.start_collector(load.client)
            wait_for_windows(otel_collector, forth, 2)
        system.finish()
    assert count_handovers(otel_collector) > 0
    expected = 10 * rounds["done"] * REQUEST_BYTES
    assert_within_handovers(otel_collector, forth, expected)


@contextmanager
def flowing(load: Load) -> Iterator[Counter[str]]:
    """Ask on all connections all the time; yields how many rounds that were so far."""
    rounds, enough = Counter[str](), Event()

    def ask() -> None:
        while not enough.is_set():
            load.exchange(5)
            rounds["done"] += 5

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield rounds
        finally:
            enough.set()
            asking.result()


def wait_for_windows(
    otel_collector: OtelCollector, forth: Mapping[str, str], more: int
) -> None:
    """Wait until some more windows have come that tell of bytes."""
    known = len(+bytes_by_window(otel_collector, forth))
    otel_collector.wait_until(lambda c: len(+bytes_by_window(c, forth)) >= known + more)


def bytes_by_window(
    otel_collector: OtelCollector, forth: Mapping[str, str]
) -> Counter[int]:
    """Return the bytes of each window, by its end."""
    told = Counter[int]()
    for point in otel_collector.points("tcp.bytes", forth):
        told[point.time_ns] += int(point.value)
    return told


def count_handovers(otel_collector: OtelCollector) -> float:
    """Return of how many rows it is told that they may differ."""
    return otel_collector.last("ebpf_net.reducer.handover_rows", {})


def assert_within_handovers(
    otel_collector: OtelCollector, forth: Mapping[str, str], expected: int
) -> None:
    """What is missing or too much is no more than what the rows told of tell."""
    told = bytes_by_window(otel_collector, forth)
    bound = sum(sorted(told.values())[-int(count_handovers(otel_collector)) :])
    assert abs(told.total() - expected) <= bound
