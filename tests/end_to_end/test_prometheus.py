"""A real Prometheus scrapes true counters."""

from pathlib import Path

from tests.world.hosts import Network
from tests.world.load import REPLY_BYTES, REQUEST_BYTES, Load
from tests.world.prometheus import run_prometheus
from tests.world.system import System, between

CONNECTIONS = 500


def _select(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(
        f'{key.replace(".", "_")}="{value}"' for key, value in labels.items()
    )
    return f"sum({name}{{{inside}}})"


def test_scraped_counters_equal_what_the_programs_counted(
    network: Network, tmp_path: Path
) -> None:
    load = Load(network)
    with System(tmp_path) as system:
        system.start_reducer()
        system.start_collector(load.client)
        system.start_collector(load.server)
        targets = [system.prometheus_port, system.internal_port]
        addresses = [f"127.0.0.1:{port}" for port in targets]
        with run_prometheus(tmp_path, addresses) as prometheus:
            load.connect(3)
            load.start_short_connections(CONNECTIONS).result(60)
            forth = dict(between(load.client, load.server))
            back = dict(between(load.server, load.client))
            expected = {
                _select("tcp_bytes_total", forth): CONNECTIONS * REQUEST_BYTES,
                _select("tcp_bytes_total", back): CONNECTIONS * REPLY_BYTES,
                _select("tcp_new_sockets_total", forth): CONNECTIONS + 3,
                _select("tcp_connect_duration_count", forth): CONNECTIONS + 3,
                _select("tcp_active", forth): 3,
            }
            prometheus.wait_until(
                lambda p: {query: p.value(query) for query in expected} == expected
            )
            prometheus.wait_until(
                lambda p: {target["health"] for target in p.targets()} == {"up"}
            )
            assert prometheus.value("sum(ebpf_net_up)") >= 1
            metadata = prometheus.metadata()
            assert metadata["tcp_bytes"][0]["type"] == "counter"
            assert metadata["tcp_bytes"][0]["help"]
            assert metadata["tcp_active"][0]["type"] == "gauge"


def test_two_scrapers_see_the_same_and_scraping_changes_nothing(
    network: Network, tmp_path: Path
) -> None:
    load = Load(network)
    with System(tmp_path) as system:
        system.start_reducer()
        system.start_collector(load.client)
        load.start_short_connections(CONNECTIONS).result(60)
        with (
            run_prometheus(tmp_path, [f"127.0.0.1:{system.prometheus_port}"]) as first,
            run_prometheus(tmp_path, [f"127.0.0.1:{system.prometheus_port}"]) as second,
        ):
            query = _select("tcp_bytes_total", {"aggregation": "id_id"})
            total = CONNECTIONS * (REQUEST_BYTES + REPLY_BYTES)
            first.wait_until(lambda p: p.value(query) == total)
            second.wait_until(lambda p: p.value(query) == total)
