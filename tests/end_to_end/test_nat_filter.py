"""A cgroup filter that leaves out who translates: true ends all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.end_to_end.test_nat_places import COUNT, EXACT, FAMILIES, REPLY, REQUEST
from tests.world import tcp_traffic, udp_traffic
from tests.world.gateway import IPV4, Family
from tests.world.hosts import Network
from tests.world.nat_scene import Scene
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between
from tests.world.tapped import TappedCollector

from ebpf_net.schema import Protocol, Role


@pytest.fixture
def system(tmp_path: Path, otel_collector: OtelCollector) -> Iterator[System]:
    """A reducer that waits for the word of the gateway's node, however late."""
    with System(tmp_path, otel_collector) as system:
        system.start_reducer("--lateness-seconds", "10")
        yield system


@FAMILIES
@pytest.mark.parametrize("kind", ["DNAT", "SNAT", "both"])
@pytest.mark.parametrize("gateway", ["left out", "without processes"])
def test_whose_processes_are_left_out_still_translates(
    network: Network, tmp_path: Path, family: Family, kind: str, gateway: str
) -> None:
    scene = Scene(network, family, kind)
    calling, serving = scene.client.worker(), scene.server.worker()
    if gateway == "left out":
        scene.gateway.worker()
    near, far = family.address(scene.client), family.address(scene.server)
    serving.call(tcp_traffic.serve, far, 5000, REQUEST, REPLY)
    serving.call(udp_traffic.serve_udp, far, 5000, REPLY)
    with TappedCollector([scene.client], tmp_path, sees_others=True) as tapped:
        there = (scene.asked, scene.port)
        calling.call(
            *(tcp_traffic.make_short_connections, *there, COUNT, REQUEST, REPLY),
        )
        calling.call(udp_traffic.exchange_datagrams, [near], *there, COUNT, REQUEST)
        tapped.stop()
    assert tapped.translations() == {scene.translation}
    ends = scene.ends(Role.CLIENT)
    assert tapped.sums(protocol=int(Protocol.TCP), **ends) == EXACT
    datagrams = tapped.sums(protocol=int(Protocol.UDP), **ends)
    assert datagrams["bytes_sent"] == EXACT["bytes_sent"]
    assert tapped.rows("edges", translation_id=0) == []


@pytest.mark.parametrize("kind", ["DNAT", "SNAT", "both"])
@pytest.mark.parametrize("end", ["client", "server"])
def test_ends_with_a_collector_each_are_one_edge(
    network: Network, otel_collector: OtelCollector, system: System, kind: str, end: str
) -> None:
    """The gateway, whose processes are left out, is on the node of one end."""
    scene = Scene(network, IPV4, kind)
    calling, serving = scene.client.worker(), scene.server.worker()
    scene.gateway.worker()
    for host in (scene.client, scene.server):
        system.start_collector(host, sees_others=host.name == end)
    serving.call(tcp_traffic.serve, scene.server.address, 5000, REQUEST, REPLY)
    calling.call(
        *(tcp_traffic.make_short_connections, scene.asked, scene.port),
        *(COUNT, REQUEST, REPLY),
    )
    system.finish()
    forth, back = (
        between(scene.client, scene.server),
        between(scene.server, scene.client),
    )
    assert otel_collector.total("tcp.bytes", forth) == COUNT * REQUEST
    assert otel_collector.total("tcp.bytes", back) == COUNT * REPLY
    everything = {"aggregation": "id_id"}
    assert otel_collector.total("tcp.bytes", everything) == COUNT * (REQUEST + REPLY)
