"""Containers of a real Docker engine."""

from tests.world import tcp_traffic
from tests.world.docker import Docker
from tests.world.hosts import Network
from tests.world.otel_collector import OtelCollector
from tests.world.system import System

REQUEST, REPLY, COUNT = 100, 900, 200


def test_containers_are_named_and_counted_on_the_bridge_and_behind_a_published_port(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    engine, client = network.host("engine"), network.host("client")
    with Docker(engine) as docker:
        flags = ("--docker-socket", str(docker.socket))
        system.start_collector(engine, *flags)
        web = docker.run("web", publish="8080:5000", labels={"tier": "front"})
        shop = docker.run("shop")
        serving, inside, outside = web.worker(), shop.worker(), client.worker()
        serving.call(tcp_traffic.serve, "0.0.0.0", 5000, REQUEST, REPLY)
        for worker, address, port in (
            (inside, web.address, 5000),
            (outside, engine.address, 8080),
        ):
            worker.call(
                *(tcp_traffic.make_short_connections, address, port),
                *(COUNT, REQUEST, REPLY),
            )
        assert serving.call(tcp_traffic.read_served).connections == 2 * COUNT
        system.finish()
        for worker in (serving, inside):
            worker.close()
    pair = {
        "aggregation": "id_id",
        "source.container.name": "shop",
        "dest.container.name": "web",
        "source.resolution_type": "CONTAINER",
        "dest.workload.name": "web",
        "dest.image_version": "1.0",
    }
    assert otel_collector.total("tcp.bytes", pair) == COUNT * REQUEST
    assert otel_collector.total("tcp.new_sockets", pair) == COUNT
    published = {
        "aggregation": "id_id",
        "source.id": client.address,
        "dest.container.name": "web",
    }
    assert otel_collector.total("tcp.bytes", published) == COUNT * REQUEST
    answers = {
        "aggregation": "id_id",
        "source.container.name": "web",
        "dest.id": client.address,
    }
    assert otel_collector.total("tcp.bytes", answers) == COUNT * REPLY
