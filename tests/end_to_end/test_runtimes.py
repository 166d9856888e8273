"""Containers of real runtimes besides Docker: who they are, at the far end."""

from tests.world import tcp_traffic
from tests.world.containerd import Containerd
from tests.world.containers import Container
from tests.world.hosts import Host, Network
from tests.world.otel_collector import OtelCollector
from tests.world.podman import Podman
from tests.world.system import System
from tests.world.waiting import wait_until

REQUEST, REPLY, COUNT = 100, 900, 50
UID = "5b2c1d3e-4f50-6172-8394-a5b6c7d8e9f0"


def make_traffic(system: System, container: Container, client: Host) -> None:
    """Let a client make connections to the container once its name is known."""
    serving, inside, outside = container.worker(), container.worker(), client.worker()
    serving.call(tcp_traffic.serve, "0.0.0.0", 5000, REQUEST, REPLY)
    inside.call(tcp_traffic.open_connections, container.address, 5000, 1)

    def is_known() -> bool:
        inside.call(tcp_traffic.exchange, 1, REQUEST, REPLY)
        labels = {"aggregation": "id_id", "source.container.name": container.name}
        return system.count_exposed("tcp_bytes", labels) > 0

    wait_until(is_known, 20)
    outside.call(
        *(tcp_traffic.make_short_connections, container.address, 5000),
        *(COUNT, REQUEST, REPLY),
    )
    assert serving.call(tcp_traffic.read_served).connections == COUNT + 1
    inside.close()
    serving.close()


def assert_counted(
    otel_collector: OtelCollector, client: Host, labels: dict[str, str]
) -> None:
    """Say that all that the client sent arrived at an end with these labels."""
    dest = {f"dest.{label}": value for label, value in labels.items()}
    pair = {"aggregation": "id_id", "source.id": client.address, **dest}
    assert otel_collector.total("tcp.bytes", pair) == COUNT * REQUEST
    assert otel_collector.total("tcp.new_sockets", pair) == COUNT


def test_a_container_of_containerd_has_its_name_without_kubernetes(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    node, client = network.host("node"), network.host("client")
    with Containerd(node) as containerd:
        flags = ("--containerd-socket", str(containerd.socket))
        container = containerd.run("web")
        system.start_collector(node, *flags, "--include-cgroup", container.cgroup)
        make_traffic(system, container, client)
        system.finish()
    assert_counted(
        otel_collector,
        client,
        {
            "container.name": "web",
            "workload.name": "web",
            "image_version": "1.0",
            "resolution_type": "CONTAINER",
        },
    )


def test_a_pod_of_containerd_has_its_names(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    node, client = network.host("node"), network.host("client")
    with Containerd(node) as containerd:
        flags = ("--containerd-socket", str(containerd.socket))
        system.start_collector(node, *flags)
        make_traffic(system, containerd.run_pod("web-0", UID, "app"), client)
        system.finish()
    assert_counted(
        otel_collector,
        client,
        {
            "container.name": "app",
            "workload.name": "app",
            "pod": "web-0",
            "namespace.name": "shop",
            "image_version": "1.0",
            "resolution_type": "K8S_CONTAINER",
        },
    )


def test_a_container_of_podman_has_its_name(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    node, client = network.host("node"), network.host("client")
    with Podman(node) as podman:
        system.start_collector(node, "--podman-socket", str(podman.socket))
        make_traffic(system, podman.run("web"), client)
        system.finish()
    assert_counted(
        otel_collector,
        client,
        {
            "container.name": "web",
            "workload.name": "web",
            "image_version": "1.0",
            "resolution_type": "CONTAINER",
        },
    )
