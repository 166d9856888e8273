"""The disk of the spool is full while the reducer is away."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.world.hosts import Network, run
from tests.world.load import REQUEST_BYTES, Load
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between
from tests.world.waiting import wait_until


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


def test_the_collector_goes_on_and_counts_what_it_had_to_drop(
    network: Network, otel_collector: OtelCollector, system: System, small_disk: Path
) -> None:
    load = Load(network)
    collector = system.start_collector(
        load.client,
        *("--spool-memory-bytes", "4096", "--keep-client-port"),
        environment={"EBPF_NET_DATA_DIR": str(small_disk)},
    )
    assert system.reducer is not None
    system.reducer.kill()
    lost = 0
    load.start_short_connections(10_000).result(60)
    wait_until(lambda: "spool" in collector.read_log(), 60, collector.read_log)
    system.start_reducer()
    load.start_short_connections(100).result(60)
    wait_until(
        lambda: system.count_internal(
            "ebpf_net_collector_lost", {"reason": "spool_full"}
        ),
        60,
    )
    system.finish()
    forth = between(load.client, load.server.address)
    counted = otel_collector.distinct_total("tcp.bytes", forth)
    lost = system.last_lost
    assert counted == (10_100 - lost) * REQUEST_BYTES
