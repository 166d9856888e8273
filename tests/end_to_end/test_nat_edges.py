"""Translated connections as the far end hears of them, with one collector."""

import pytest
from tests.end_to_end.test_nat_matrix import COUNT, REPLY, REQUEST, Scene
from tests.world import tcp_traffic
from tests.world.gateway import IPV4
from tests.world.hosts import Network
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between


@pytest.mark.parametrize("kind", ["DNAT", "SNAT", "both"])
@pytest.mark.parametrize("place", ["client", "server", "all"])
def test_edge_goes_from_the_true_client_to_the_true_server(
    network: Network,
    otel_collector: OtelCollector,
    system: System,
    kind: str,
    place: str,
) -> None:
    scene = Scene(network, IPV4, kind)
    client, server = scene.client, scene.server
    calling, serving = client.worker(), server.worker()
    scene.gateway.worker()
    first, *others = scene.hosts(place)
    included = [x for host in others for x in ("--include-cgroup", host.cgroup.path)]
    system.start_collector(first, *included)
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    calling.call(
        *(tcp_traffic.make_short_connections, scene.asked, scene.port),
        *(COUNT, REQUEST, REPLY),
    )
    system.finish()
    source = first.name if place in ("client", "all") else client.address
    dest = first.name if place in ("server", "all") else server.address
    forth, back = between(source, dest), between(dest, source)
    everything = {"aggregation": "id_id"}
    if source == dest:
        assert otel_collector.total("tcp.bytes", forth) == COUNT * (REQUEST + REPLY)
    else:
        assert otel_collector.total("tcp.bytes", forth) == COUNT * REQUEST
        assert otel_collector.total("tcp.bytes", back) == COUNT * REPLY
    assert otel_collector.total("tcp.bytes", everything) == COUNT * (REQUEST + REPLY)
