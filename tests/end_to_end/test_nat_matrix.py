"""Translated connections: the rows carry who really speaks with whom, to the byte."""

from pathlib import Path

import pytest
from tests.world import tcp_traffic, udp_traffic
from tests.world.gateway import IPV4, IPV6, Family
from tests.world.hosts import Network
from tests.world.nat_scene import Scene
from tests.world.tapped import TappedCollector

from ebpf_net.schema import Protocol, Role

REQUEST, REPLY, COUNT = 100, 900, 20
EXACT = {
    "bytes_sent": COUNT * REQUEST,
    "bytes_received": COUNT * REPLY,
    "opened": COUNT,
    "closed": COUNT,
}
MIRRORED = EXACT | {"bytes_sent": COUNT * REPLY, "bytes_received": COUNT * REQUEST}
PLACES = ("client", "server", "gateway", "all")


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
