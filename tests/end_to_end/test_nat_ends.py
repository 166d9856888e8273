"""A gateway translates: who speaks with whom is exact, wherever collectors are."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.world import tcp_traffic
from tests.world.gateway import IPV4, IPV6, Family
from tests.world.hosts import Network
from tests.world.nat_scene import Scene
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between

REQUEST, REPLY, COUNT = 300, 3000, 30


@pytest.fixture
def system(tmp_path: Path, otel_collector: OtelCollector) -> Iterator[System]:
    """A reducer that waits for the gateway's word, however busy the machine is."""
    with System(tmp_path, otel_collector) as system:
        system.start_reducer("--lateness-seconds", "10")
        yield system


@pytest.mark.parametrize("kind", ["DNAT", "SNAT", "both", "hairpin"])
@pytest.mark.parametrize("family", [IPV4, IPV6], ids=lambda family: family.name)
@pytest.mark.parametrize(
    "watched", ["client", "server", "both"], ids=lambda watched: f"{watched}-watched"
)
def test_the_gateways_collector_joins_the_ends(
    network: Network,
    otel_collector: OtelCollector,
    system: System,
    family: Family,
    kind: str,
    watched: str,
) -> None:
    scene = Scene(network, family, kind)
    calling, serving = scene.client.worker(), scene.server.worker()
    scene.gateway.worker()
    names = {host: family.address(host) for host in (scene.client, scene.server)}
    for end in ("client", "server"):
        host = scene.client if end == "client" else scene.server
        if watched in ("both", end) and host.name not in system.collectors:
            system.start_collector(host)
            names[host] = host.name
    system.start_collector(scene.gateway)
    serving.call(tcp_traffic.serve, family.address(scene.server), 5000, REQUEST, REPLY)
    calling.call(
        *(tcp_traffic.make_short_connections, scene.asked, scene.port),
        *(COUNT, REQUEST, REPLY),
    )
    system.finish()
    total = otel_collector.total
    if scene.client is scene.server:  # both directions of a hairpin are one edge
        itself = between(names[scene.client], names[scene.server])
        assert total("tcp.bytes", itself) == COUNT * (REQUEST + REPLY)
    else:
        forth = between(names[scene.client], names[scene.server])
        back = between(names[scene.server], names[scene.client])
        assert total("tcp.bytes", forth) == COUNT * REQUEST
        assert total("tcp.bytes", back) == COUNT * REPLY
        opener = back if watched == "server" else forth
        assert total("tcp.new_sockets", opener) == COUNT
    everything = {"aggregation": "id_id"}
    assert total("tcp.bytes", everything) == COUNT * (REQUEST + REPLY)
    assert total("tcp.new_sockets", everything) == 2 * COUNT


@pytest.mark.parametrize("end", ["client", "server"])
def test_an_end_alone_tells_the_addresses_it_sees(
    network: Network, otel_collector: OtelCollector, system: System, end: str
) -> None:
    scene = Scene(network, IPV4, "both")
    calling, serving = scene.client.worker(), scene.server.worker()
    system.start_collector(scene.client if end == "client" else scene.server)
    serving.call(tcp_traffic.serve, scene.server.address, 5000, REQUEST, REPLY)
    calling.call(
        *(tcp_traffic.make_short_connections, scene.asked, scene.port),
        *(COUNT, REQUEST, REPLY),
    )
    system.finish()
    ends = (
        between(scene.client, scene.asked)
        if end == "client"
        else between(scene.outer, scene.server)
    )
    assert otel_collector.total("tcp.bytes", ends) == COUNT * REQUEST
    everything = {"aggregation": "id_id"}
    assert otel_collector.total("tcp.bytes", everything) == COUNT * (REQUEST + REPLY)
