"""Translation at other places than a gateway, before the start, and through several."""

from pathlib import Path

import pytest
from tests.world import tcp_traffic, udp_traffic
from tests.world.docker import Docker
from tests.world.gateway import IPV4, IPV6, Family, forward, nft_rules, send_by
from tests.world.hosts import Host, Network, run
from tests.world.tapped import TappedCollector

from ebpf_net.schema import Protocol, Role

REQUEST, REPLY, COUNT = 100, 900, 20
FAMILIES = pytest.mark.parametrize(
    "family", [IPV4, IPV6], ids=lambda family: family.name
)
EXACT = {
    "bytes_sent": COUNT * REQUEST,
    "bytes_received": COUNT * REPLY,
    "opened": COUNT,
    "closed": COUNT,
}
MIRRORED = EXACT | {"bytes_sent": COUNT * REPLY, "bytes_received": COUNT * REQUEST}


def to_server(client: str, server: str, port: int = 5000) -> dict[str, object]:
    return {
        "role": Role.CLIENT,
        "local": client,
        "remote": server,
        "remote_port": port,
    }


def from_client(client: str, server: str, port: int = 5000) -> dict[str, object]:
    return {
        "role": Role.SERVER,
        "local": server,
        "remote": client,
        "local_port": port,
    }


def own_rules(family: Family, client: Host, server: Host) -> tuple[str, str]:
    """Rules of a client: another server than it asks for, another address than its."""
    match = f"{family.table} daddr {family.service} meta l4proto {{ tcp, udp }}"
    there = family.with_port(family.address(server), 5000)
    other = "10.77.0.99" if family is IPV4 else "fd77::99"
    prefix = "24" if family is IPV4 else "64"
    options = () if family is IPV4 else ("nodad", "preferred_lft", "0")
    client.ip("address", "add", f"{other}/{prefix}", "dev", "eth0", *options)
    client.ip("route", "replace", family.service, "dev", "eth0")
    rules = nft_rules(
        family,
        ("output", "postrouting"),
        f"{match} th dport 80 dnat to {there}",
        f"meta l4proto {{ tcp, udp }} th dport 5000 snat to {other}",
    )
    return rules, other


@FAMILIES
def test_rules_of_the_clients_own_namespace(
    network: Network, tmp_path: Path, family: Family
) -> None:
    client, server = network.host("client"), network.host("server")
    rules, outer = own_rules(family, client, server)
    client.nft(rules)
    calling, serving = client.worker(), server.worker()
    near, far = family.address(client), family.address(server)
    serving.call(tcp_traffic.serve, far, 5000, REQUEST, REPLY)
    serving.call(udp_traffic.serve_udp, far, 5000, REPLY)
    with TappedCollector([client], tmp_path) as tapped:
        calling.call(
            *(tcp_traffic.make_short_connections, family.service, 80),
            *(COUNT, REQUEST, REPLY),
        )
        calling.call(
            *(udp_traffic.exchange_datagrams, [near], family.service, 80),
            *(COUNT, REQUEST),
        )
        tapped.stop()
    told = (near, f"{family.service} 80", outer, f"{far} 5000")
    assert tapped.translations() == {told}
    for protocol in (Protocol.TCP, Protocol.UDP):
        sums = tapped.sums(protocol=protocol, **to_server(near, far))
        assert sums["bytes_sent"] == EXACT["bytes_sent"], protocol
        assert sums["bytes_received"] == EXACT["bytes_received"], protocol
    assert tapped.rows("edges", translation_id=0) == []


@FAMILIES
def test_a_port_redirected_at_the_server(
    network: Network, tmp_path: Path, family: Family
) -> None:
    client, server = network.host("client"), network.host("server")
    redirect = "meta l4proto { tcp, udp } th dport 80 redirect to :5000"
    server.nft(nft_rules(family, ("prerouting", "postrouting"), redirect, ""))
    calling, serving = client.worker(), server.worker()
    near, far = family.address(client), family.address(server)
    serving.call(tcp_traffic.serve, far, 5000, REQUEST, REPLY)
    serving.call(udp_traffic.serve_udp, far, 5000, REPLY)
    with TappedCollector([server], tmp_path) as tapped:
        calling.call(
            *(tcp_traffic.make_short_connections, far, 80, COUNT, REQUEST, REPLY),
        )
        calling.call(udp_traffic.exchange_datagrams, [near], far, 80, COUNT, REQUEST)
        tapped.stop()
    assert tapped.translations() == {(near, f"{far} 80", near, f"{far} 5000")}
    for protocol in (Protocol.TCP, Protocol.UDP):
        sums = tapped.sums(protocol=protocol, **from_client(near, far))
        assert sums["bytes_sent"] == MIRRORED["bytes_sent"], protocol
        assert sums["bytes_received"] == MIRRORED["bytes_received"], protocol
    assert tapped.rows("edges", translation_id=0) == []


@FAMILIES
def test_rules_of_iptables(network: Network, tmp_path: Path, family: Family) -> None:
    client, gateway = network.host("client"), network.host("gateway")
    server = network.host("server")
    forward(gateway)
    send_by(client, gateway, family, family.service)
    near, far = family.address(client), family.address(server)
    there = family.with_port(far, 5000)
    enter = ("ip", "netns", "exec", gateway.netns, f"{family.iptables}-legacy")
    nat = (*enter, "-t", "nat", "-A")
    run(
        *(*nat, "PREROUTING", "-d", family.service, "-p", "tcp"),
        *("--dport", "80", "-j", "DNAT", "--to-destination", there),
    )
    run(*nat, "POSTROUTING", "-j", "MASQUERADE")
    calling, serving = client.worker(), server.worker()
    serving.call(tcp_traffic.serve, far, 5000, REQUEST, REPLY)
    gateway.worker()
    with TappedCollector([client, gateway, server], tmp_path) as tapped:
        calling.call(
            *(tcp_traffic.make_short_connections, family.service, 80),
            *(COUNT, REQUEST, REPLY),
        )
        tapped.stop()
    assert tapped.sums(**to_server(near, far)) == EXACT
    assert tapped.sums(**from_client(near, far)) == MIRRORED
    assert tapped.rows("edges", translation_id=0) == []


def test_connections_from_before_the_start(network: Network, tmp_path: Path) -> None:
    client, server = network.host("client"), network.host("server")
    rules, outer = own_rules(IPV4, client, server)
    client.nft(rules)
    calling, serving = client.worker(), server.worker()
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    calling.call(tcp_traffic.open_connections, IPV4.service, 80, COUNT)
    calling.call(tcp_traffic.exchange, 1, REQUEST, REPLY)
    with TappedCollector([client], tmp_path) as tapped:
        calling.call(tcp_traffic.exchange, 1, REQUEST, REPLY)
        tapped.wait_windows(2)
        calling.call(tcp_traffic.close_connections)
        tapped.stop()
    there = to_server(client.address, server.address)
    assert tapped.sums(**there) == EXACT | {"opened": 0}
    assert tapped.rows("edges", **there)[-1]["open"] == 0
    told = (client.address, f"{IPV4.service} 80", outer, f"{server.address} 5000")
    assert tapped.translations() == {told}
    assert tapped.rows("edges", translation_id=0) == []


def test_rules_that_come_later_are_noticed(network: Network, tmp_path: Path) -> None:
    client, server = network.host("client"), network.host("server")
    rules, _ = own_rules(IPV4, client, server)
    calling, serving = client.worker(), server.worker()
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    with TappedCollector([client], tmp_path) as tapped:
        assert tapped.status["translations.namespaces"] == 0
        client.nft(rules)
        tapped.program.wait_ready(lambda: tapped.status["translations.namespaces"] == 1)
        calling.call(
            *(tcp_traffic.make_short_connections, IPV4.service, 80),
            *(COUNT, REQUEST, REPLY),
        )
        client.run("nft", "flush", "ruleset")
        tapped.stop()
    assert tapped.sums(**to_server(client.address, server.address)) == EXACT


def test_two_translations_one_after_the_other(network: Network, tmp_path: Path) -> None:
    client, server = network.host("client"), network.host("server")
    gateway = network.host("gateway")
    second = "10.96.0.11"
    client.ip("route", "add", "10.96.0.0/24", "dev", "eth0")
    match = f"ip daddr {IPV4.service} tcp dport 80 dnat to {second}:81"
    client.nft(nft_rules(IPV4, ("output", "postrouting"), match, ""))
    forward(gateway)
    send_by(client, gateway, IPV4, second)
    match = f"ip daddr {second} tcp dport 81 dnat to {server.address}:5000"
    gateway.nft(nft_rules(IPV4, ("prerouting", "postrouting"), match, "masquerade"))
    calling, serving = client.worker(), server.worker()
    gateway.worker()
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    with TappedCollector([client, gateway, server], tmp_path) as tapped:
        calling.call(
            *(tcp_traffic.make_short_connections, IPV4.service, 80),
            *(COUNT, REQUEST, REPLY),
        )
        tapped.stop()
    assert tapped.sums(**to_server(client.address, server.address)) == EXACT
    assert tapped.sums(**from_client(client.address, server.address)) == MIRRORED
    told = (
        client.address,
        f"{IPV4.service} 80",
        gateway.address,
        f"{server.address} 5000",
    )
    assert tapped.translations() == {told}


def test_published_ports_of_docker(network: Network, tmp_path: Path) -> None:
    engine, outside = network.host("engine"), network.host("outside")
    with Docker(engine) as docker:
        web = docker.run("web", publish="8080:5000")
        serving, calling = web.worker(), outside.worker()
        serving.call(tcp_traffic.serve, "0.0.0.0", 5000, REQUEST, REPLY)
        with TappedCollector([engine], tmp_path) as tapped:
            calling.call(
                *(tcp_traffic.make_short_connections, engine.address, 8080),
                *(COUNT, REQUEST, REPLY),
            )
            tapped.stop()
        serving.close()
    assert tapped.sums(**from_client(outside.address, web.address)) == MIRRORED
    assert tapped.translations() == {
        (
            outside.address,
            f"{engine.address} 8080",
            outside.address,
            f"{web.address} 5000",
        )
    }
