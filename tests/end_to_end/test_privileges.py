"""What the collector may do, and what is left when it is gone."""

from pathlib import Path

from tests.world.bpf_objects import exists, held_by
from tests.world.hosts import Network
from tests.world.load import REQUEST_BYTES, Load
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between
from tests.world.waiting import wait_until

CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_BPF = 2, 19, 39
SUFFICE = "-all,+bpf,+perfmon,+net_admin"


def _effective_capabilities(pid: int) -> set[int]:
    """Return what any thread of the process may do."""
    masks = [
        int(line.split()[1], 16)
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("CapEff:")
    ]
    return {bit for bit in range(64) if any(mask >> bit & 1 for mask in masks)}


def test_three_capabilities_suffice(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    load = Load(network)
    system.start_collector(
        load.client, prefix=("setpriv", f"--bounding-set={SUFFICE}", "--inh-caps=-all")
    )
    load.start_short_connections(100).result(60)
    system.finish()
    forth = between(load.client, load.server.address)
    assert otel_collector.total("tcp.bytes", forth) == 100 * REQUEST_BYTES


def test_what_is_not_needed_after_the_start_is_given_up(
    network: Network, system: System
) -> None:
    collector = system.start_collector(network.host("alone"))
    kept = _effective_capabilities(collector.pid)
    # To read other users' files and /proc/PID/exe; and for kernels before 5.19.
    assert kept <= {CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_BPF}


def test_nothing_stays_in_the_kernel_after_kill_9(
    network: Network, system: System
) -> None:
    collector = system.start_collector(network.host("alone"))
    held = held_by(collector.pid)
    assert {kind for kind, _ in held} >= {"prog", "map", "link"}
    assert all(exists(item) for item in held)
    collector.kill()
    wait_until(lambda: not any(exists(item) for item in held), 30)


def test_the_collector_loads_neither_pyarrow_nor_duckdb(
    network: Network, system: System
) -> None:
    collector = system.start_collector(network.host("alone"))
    maps = Path(f"/proc/{collector.pid}/maps").read_text()
    for library in ("pyarrow", "duckdb", "grpc", "libarrow"):
        assert library not in maps
    assert "numpy" in maps
