"""Translated connections: the rows carry who really speaks with whom, to the byte."""

from pathlib import Path

import pytest
from tests.world import tcp_traffic, udp_traffic
from tests.world.gateway import IPV4, IPV6, Family, forward, nft_rules, send_by
from tests.world.hosts import Host, Network
from tests.world.tapped import TappedCollector

from ebpf_net.schema import Protocol, Role

REQUEST, REPLY, COUNT = 100, 900, 20
ROUTED = ("prerouting", "postrouting")
EXACT = {
    "bytes_sent": COUNT * REQUEST,
    "bytes_received": COUNT * REPLY,
    "opened": COUNT,
    "closed": COUNT,
}
MIRRORED = EXACT | {"bytes_sent": COUNT * REPLY, "bytes_received": COUNT * REQUEST}
PLACES = ("client", "server", "gateway", "all")


class Scene:
    """Client and server, and a gateway whose rules change their packets' addresses."""

    def __init__(self, network: Network, family: Family, kind: str) -> None:
        self.family = family
        self.client = network.host("client")
        self.gateway = network.host("gateway")
        self.server = network.host("server") if kind != "hairpin" else self.client
        self.asked = family.service if kind != "SNAT" else family.address(self.server)
        self.port = 80 if kind != "SNAT" else 5000
        self.outer = family.address(self.client if kind == "DNAT" else self.gateway)
        forward(self.gateway)
        send_by(self.client, self.gateway, family, self.asked)
        if kind == "DNAT":
            send_by(self.server, self.gateway, family, family.address(self.client))
        self.gateway.nft(self._rules(kind))

    def _rules(self, kind: str) -> str:
        family = self.family
        match = f"{family.table} daddr {family.service} meta l4proto {{ tcp, udp }}"
        there = family.with_port(family.address(self.server), 5000)
        dnat = f"{match} th dport 80 dnat to {there}" if kind != "SNAT" else ""
        snat = f"snat to {family.address(self.gateway)}" if kind != "DNAT" else ""
        return nft_rules(family, ROUTED, dnat, snat)

    def hosts(self, place: str) -> list[Host]:
        """Return whom the collector at a place sees; translating is always seen."""
        by_place = {
            "client": [self.client, self.gateway],
            "server": [self.server, self.gateway],
            "gateway": [self.gateway],
            "all": [self.client, self.gateway, self.server],
        }
        return by_place[place]

    @property
    def translation(self) -> tuple[str, str, str, str]:
        """Return what a collector should tell."""
        address = self.family.address
        return (
            address(self.client),
            f"{self.asked} {self.port}",
            self.outer,
            f"{address(self.server)} 5000",
        )

    def ends(self, role: Role) -> dict[str, object]:
        """Return the true ends, as of one of them."""
        client = self.family.address(self.client)
        server = self.family.address(self.server)
        if role == Role.CLIENT:
            return {
                "role": role,
                "local": client, "remote": server, "remote_port": 5000,
            }
        return {"role": role, "local": server, "remote": client, "local_port": 5000}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["DNAT", "SNAT", "both", "hairpin"])
@pytest.mark.parametrize("family", [IPV4, IPV6], ids=lambda family: family.name)
def test_true_ends_of_tcp(
    network: Network, tmp_path: Path, family: Family, kind: str, place: str
) -> None:
    scene = Scene(network, family, kind)
    calling, serving = scene.client.worker(), scene.server.worker()
    scene.gateway.worker()
    serving.call(tcp_traffic.serve, family.address(scene.server), 5000, REQUEST, REPLY)
    with TappedCollector(scene.hosts(place), tmp_path) as tapped:
        calling.call(
            *(tcp_traffic.make_short_connections, scene.asked, scene.port),
            *(COUNT, REQUEST, REPLY),
        )
        tapped.wait_row("translations")
        tapped.stop()
    assert tapped.translations() == {scene.translation}
    if place in ("client", "all") or (kind == "hairpin" and place == "server"):
        assert tapped.sums(**scene.ends(Role.CLIENT)) == EXACT
    if place in ("server", "all") or (kind == "hairpin" and place == "client"):
        assert tapped.sums(**scene.ends(Role.SERVER)) == MIRRORED
    assert tapped.rows("edges", translation_id=0) == []
    assert tapped.status["lost.translations_unresolved"] == 0


@pytest.mark.parametrize("kind", ["DNAT", "SNAT", "both", "hairpin"])
@pytest.mark.parametrize("family", [IPV4, IPV6], ids=lambda family: family.name)
def test_true_ends_of_udp(
    network: Network, tmp_path: Path, family: Family, kind: str
) -> None:
    scene = Scene(network, family, kind)
    calling, serving = scene.client.worker(), scene.server.worker()
    scene.gateway.worker()
    serving.call(udp_traffic.serve_udp, family.address(scene.server), 5000, REPLY)
    client = family.address(scene.client)
    with TappedCollector(scene.hosts("all"), tmp_path) as tapped:
        calling.call(
            *(udp_traffic.exchange_datagrams, [client], scene.asked, scene.port),
            *(COUNT, REQUEST),
        )
        tapped.wait_row("translations")
        tapped.stop()
    assert tapped.translations() == {scene.translation}
    sent, answered = COUNT * REQUEST, COUNT * REPLY
    udp = {"protocol": int(Protocol.UDP)}
    as_client = tapped.sums(**udp, **scene.ends(Role.CLIENT))
    as_server = tapped.sums(**udp, **scene.ends(Role.SERVER))
    assert (as_client["bytes_sent"], as_client["bytes_received"]) == (sent, answered)
    assert (as_server["bytes_sent"], as_server["bytes_received"]) == (answered, sent)
    assert tapped.rows("edges", translation_id=0) == []
