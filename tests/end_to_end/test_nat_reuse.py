"""Ports that are used again at once, with another server: each connection its own."""

from pathlib import Path

import pytest
from tests.world import tcp_traffic
from tests.world.gateway import IPV4, forward, nft_rules, send_by
from tests.world.hosts import Host, Network
from tests.world.tapped import TappedCollector
from tests.world.workers import Worker

from ebpf_net.schema import Role

REQUEST, REPLY, COUNT = 100, 900, 300
PORTS = list(range(40000, 40005))


def balance(network: Network, servers: list[Host], masquerade: bool) -> Host:
    """Return a gateway that gives connections to servers as it likes."""
    gateway = network.host("gateway")
    forward(gateway)
    backends = ", ".join(f"{n} : {host.address}" for n, host in enumerate(servers))
    gateway.nft(
        nft_rules(
            IPV4,
            ("prerouting", "postrouting"),
            f"ip daddr {IPV4.service} tcp dport 5000 dnat to "
            f"numgen random mod {len(servers)} map {{ {backends} }}",
            "masquerade" if masquerade else "",
        )
    )
    return gateway


def start_servers(servers: list[Host]) -> list[Worker]:
    workers = [server.worker() for server in servers]
    for server, worker in zip(servers, workers, strict=True):
        worker.call(
            *(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY),
            closes=True,
        )
    return workers


@pytest.mark.parametrize("masquerade", [False, True])
@pytest.mark.parametrize("interval", ["0.5", "5"])
def test_a_port_goes_to_another_server_at_once(
    network: Network, tmp_path: Path, masquerade: bool, interval: str
) -> None:
    client, servers = network.host("client"), [network.host("one"), network.host("two")]
    gateway = balance(network, servers, masquerade)
    send_by(client, gateway, IPV4, IPV4.service)
    if not masquerade:
        for server in servers:
            send_by(server, gateway, IPV4, client.address)
    calling, serving = client.worker(), start_servers(servers)
    gateway.worker()
    hosts = [client, gateway, *servers]
    with TappedCollector(hosts, tmp_path, "--interval-seconds", interval) as tapped:
        calling.call(
            tcp_traffic.reuse_ports,
            *(client.address, PORTS, IPV4.service, 5000),
            *(COUNT, REQUEST, REPLY),
        )
        tapped.stop()
    served = [worker.call(tcp_traffic.read_served).connections for worker in serving]
    assert sum(served) == COUNT
    for server, count in zip(servers, served, strict=True):
        exact = {
            "bytes_sent": count * REQUEST,
            "bytes_received": count * REPLY,
            "opened": count,
            "closed": count,
        }
        there = {"local": client.address, "remote": server.address}
        assert tapped.sums(role=Role.CLIENT, **there) == exact
        back = {"local": server.address, "remote": client.address}
        assert tapped.sums(role=Role.SERVER, **back)["opened"] == count
    assert tapped.rows("edges", translation_id=0) == []
    assert tapped.status["lost.translations_unresolved"] == 0
