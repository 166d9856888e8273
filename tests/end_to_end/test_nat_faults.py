"""What connection tracking does not tell, or cannot be asked: exact, or counted."""

import os
import signal
from pathlib import Path

from tests.end_to_end.test_nat_places import (
    COUNT,
    EXACT,
    REPLY,
    REQUEST,
    own_rules,
    to_server,
)
from tests.world import tcp_traffic
from tests.world.gateway import IPV4
from tests.world.hosts import Host, Network
from tests.world.tapped import TappedCollector
from tests.world.waiting import wait_until
from tests.world.workers import Worker

MANY = 300


def scene(network: Network) -> tuple[Host, Host, Worker]:
    """A client whose own rules change both addresses, and a server."""
    client, server = network.host("client"), network.host("server")
    rules, _ = own_rules(IPV4, client, server)
    client.nft(rules)
    calling, serving = client.worker(), server.worker()
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    return client, server, calling


def test_events_overrun(network: Network, tmp_path: Path) -> None:
    client, server, calling = scene(network)
    flags = ("--conntrack-buffer-bytes", "4096")
    with TappedCollector([client], tmp_path, *flags) as tapped:
        calling.call(
            *(tcp_traffic.make_short_connections, IPV4.service, 80),
            *(MANY, REQUEST, REPLY),
        )
        tapped.stop()
    sums = tapped.sums(**to_server(client.address, server.address))
    assert sums == {name: value // COUNT * MANY for name, value in EXACT.items()}
    assert tapped.status["translations.overruns"] > 0
    assert tapped.status["lost.conntrack_overrun"] == 0


def test_many_connections_at_once_are_exact(network: Network, tmp_path: Path) -> None:
    client, server, calling = scene(network)
    workers = [calling, *(client.worker() for _ in range(3))]
    with TappedCollector([client], tmp_path) as tapped:
        jobs = [
            worker.submit(
                *(tcp_traffic.make_short_connections, IPV4.service, 80),
                *(1000, REQUEST, REPLY),
            )
            for worker in workers
        ]
        for job in jobs:
            job.result(120)
        tapped.stop()
    sums = tapped.sums(**to_server(client.address, server.address))
    assert sums == {name: value // COUNT * 4000 for name, value in EXACT.items()}
    assert tapped.rows("edges", translation_id=0) == []
    assert tapped.status["translations.overruns"] == 0


def test_more_connections_than_the_limit_are_counted(
    network: Network, tmp_path: Path
) -> None:
    client, server, calling = scene(network)
    flags = ("--max-translated-connections", "16")
    with TappedCollector([client], tmp_path, *flags) as tapped:
        calling.call(tcp_traffic.open_connections, IPV4.service, 80, 100)
        calling.call(tcp_traffic.exchange, 1, REQUEST, REPLY)
        calling.call(tcp_traffic.close_connections)
        tapped.stop()
    known = tapped.sums(**to_server(client.address, server.address))
    seen = tapped.sums(local=client.address, remote=IPV4.service)
    assert known["bytes_sent"] + seen["bytes_sent"] == 100 * REQUEST
    assert known["opened"] + seen["opened"] == 100
    assert tapped.status["lost.conntrack_limit"] >= 100 - 16
    assert tapped.status["translations.connections"] <= 16


def test_more_translations_than_the_limit_are_counted(
    network: Network, tmp_path: Path
) -> None:
    client, server, calling = scene(network)
    flags = ("--max-translations", "1")
    client.nft(
        "insert rule ip nat first ip daddr 10.96.0.12 tcp dport 80 "
        f"dnat to {server.address}:5000"
    )
    client.ip("route", "add", "10.96.0.12", "dev", "eth0")
    with TappedCollector([client], tmp_path, *flags) as tapped:
        for address in (IPV4.service, "10.96.0.12"):
            calling.call(
                *(tcp_traffic.make_short_connections, address, 80),
                *(COUNT, REQUEST, REPLY),
            )
        tapped.stop()
    sums = tapped.sums(**to_server(client.address, server.address))
    assert sums == {name: 2 * value for name, value in EXACT.items()}
    assert len(tapped.translations()) == 1
    assert tapped.status["lost.translations_limit"] > 0


def test_without_the_rights_ends_are_as_seen(network: Network, tmp_path: Path) -> None:
    client, _, calling = scene(network)
    rights = "-all,+bpf,+perfmon,+net_admin"
    prefix = ("setpriv", f"--bounding-set={rights}", "--inh-caps=-all")
    with TappedCollector([client], tmp_path, prefix=prefix) as tapped:
        calling.call(
            *(tcp_traffic.make_short_connections, IPV4.service, 80),
            *(COUNT, REQUEST, REPLY),
        )
        tapped.stop()
    assert tapped.sums(local=client.address, remote=IPV4.service) == EXACT
    assert tapped.translations() == set()
    assert tapped.status["signal.translations.conntrack"] == 1
    assert tapped.program.read_log().count("conntrack/own namespace") == 1


def test_translation_can_be_left_out(network: Network, tmp_path: Path) -> None:
    client, _, calling = scene(network)
    flags = ("--disable-address-translation",)
    with TappedCollector([client], tmp_path, *flags) as tapped:
        calling.call(
            *(tcp_traffic.make_short_connections, IPV4.service, 80),
            *(COUNT, REQUEST, REPLY),
        )
        tapped.stop()
    assert tapped.sums(local=client.address, remote=IPV4.service) == EXACT
    assert "translations.namespaces" not in tapped.status


def test_the_program_with_the_rights_ends_with_the_collector(
    network: Network, tmp_path: Path
) -> None:
    client, _, _ = scene(network)
    with TappedCollector([client], tmp_path) as tapped:
        children = Path(f"/proc/{tapped.program.pid}/task").glob("*/children")
        (child,) = {pid for path in children for pid in path.read_text().split()}
        status = Path(f"/proc/{child}/status").read_text()
        effective = next(x for x in status.splitlines() if x.startswith("CapEff"))
        assert int(effective.split()[1], 16) == 1 << 12 | 1 << 21
        tapped.program.kill()
        wait_until(lambda: not Path(f"/proc/{child}").exists(), 10)


def end_the_program(tapped: TappedCollector) -> None:
    """Kill the program that has the rights, and wait until that is counted."""
    assert tapped.status["lost.conntrack_unreachable"] == 0
    assert tapped.status["signal.translations.conntrack"] == 1
    children = Path(f"/proc/{tapped.program.pid}/task").glob("*/children")
    (child,) = {pid for path in children for pid in path.read_text().split()}
    os.kill(int(child), signal.SIGKILL)
    tapped.program.wait_ready(lambda: tapped.status["lost.conntrack_unreachable"] > 0)


def test_the_program_with_the_rights_is_started_again(
    network: Network, tmp_path: Path
) -> None:
    client, server, calling = scene(network)
    with TappedCollector([client], tmp_path) as tapped:
        end_the_program(tapped)
        tapped.program.wait_ready(
            lambda: tapped.status["signal.translations.conntrack"] == 1
        )
        calling.call(
            *(tcp_traffic.make_short_connections, IPV4.service, 80),
            *(COUNT, REQUEST, REPLY),
        )
        tapped.stop()
    assert tapped.sums(**to_server(client.address, server.address)) == EXACT
    assert tapped.program.read_log().count("was started again") == 1


def test_where_rights_cannot_come_back_its_end_is_told(
    network: Network, tmp_path: Path
) -> None:
    client, _, _ = scene(network)
    prefix = ("setpriv", "--no-new-privs")
    with TappedCollector([client], tmp_path, prefix=prefix) as tapped:
        end_the_program(tapped)
        wanted = "restart the collector"
        tapped.program.wait_ready(lambda: wanted in tapped.program.read_log())
        known = tapped.status["lost.conntrack_unreachable"]
        tapped.program.wait_ready(
            lambda: tapped.status["lost.conntrack_unreachable"] > known
        )
        assert tapped.status["signal.translations.conntrack"] == 0
        tapped.stop()
    assert tapped.program.read_log().count(wanted) == 1


def test_a_namespace_may_go_away(network: Network, tmp_path: Path) -> None:
    client, _, calling = scene(network)
    other = network.host("other")
    with TappedCollector([client], tmp_path) as tapped:
        assert tapped.status["translations.namespaces"] == 1
        calling.close()
        tapped.program.wait_ready(lambda: tapped.status["translations.namespaces"] == 0)
        other.worker()
        tapped.stop()
