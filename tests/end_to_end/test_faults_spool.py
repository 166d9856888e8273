"""The disk of the spool is full while the reducer is away."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.world import udp_traffic
from tests.world.hosts import Network, run
from tests.world.otel_collector import OtelCollector
from tests.world.system import System
from tests.world.waiting import wait_until

ROUNDS, PEERS = 8, 2500


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64k", "none", directory)
    try:
        yield directory
    finally:
        run("umount", "-l", directory)


def _wait_for_next_window() -> None:
    over = time.time() // 1 + 2
    wait_until(lambda: time.time() >= over, 10)


def test_what_the_collector_had_to_drop_is_counted_to_the_row(
    network: Network, otel_collector: OtelCollector, system: System, small_disk: Path
) -> None:
    client, server = network.host("client"), network.host("server")
    peers = client.add_addresses(1 + ROUNDS * PEERS)
    calling, serving = client.worker(), server.worker()
    collector = system.start_collector(
        *(server, "--spool-memory-bytes", "40000"),
        environment={"EBPF_NET_DATA_DIR": str(small_disk)},
    )
    serving.call(udp_traffic.serve_udp, server.address, 5000, 0)
    forth = {"aggregation": "id_id", "dest.id": server.name}

    def counted() -> float:
        return otel_collector.distinct_total("udp.packets", forth)

    def lost() -> float:
        reason = {"reason": "spool_full_rows"}
        return system.count_internal("ebpf_net_collector_lost", reason)

    # Each peer sends one datagram, which makes one row. The first brings along the rows
    # that tell who the server is.
    send = udp_traffic.send_from_each
    calling.call(send, peers[:1], server.address, 5000, 100)
    wait_until(lambda: counted() == 1, 30)
    assert system.reducer is not None
    system.reducer.kill()
    for number in range(ROUNDS):
        some = peers[1 + number * PEERS : 1 + (number + 1) * PEERS]
        calling.call(send, some, server.address, 5000, 100)
        _wait_for_next_window()
    wait_until(lambda: "cannot write" in collector.read_log(), 30, collector.read_log)
    system.start_reducer()
    wait_until(
        lambda: lost() > 0 and counted() + lost() == len(peers),
        60,
        lambda: (counted(), lost(), len(peers)),
    )
    system.finish()
    assert PEERS < counted() < len(peers)
