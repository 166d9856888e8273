"""Pods of two nodes, and a third node between them: one edge, by whoever watches.

kube-proxy has rules of iptables on node-1 and of nftables on the other two. Its mode
ipvs is not tried: kernels without that module run these tests, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import pytest
from tests.world.hosts import Host
from tests.world.kubernetes import KubernetesCluster
from tests.world.kubernetes_api import Object
from tests.world.kubernetes_edges import Edges, add_reports, exchanged, target
from tests.world.kubernetes_manifests import WAIT, service, workload
from tests.world.kubernetes_node import Node
from tests.world.kubernetes_programs import traffic_program
from tests.world.kubernetes_system import (
    WatchedCluster,
    wait_for_edges,
    watch_cluster,
)
from tests.world.waiting import wait_until

# The first run on a machine builds Kubernetes.
pytestmark = pytest.mark.timeout(1200)

PLACE = "nodes"
ZONES = {"node-1": "zone-a", "node-2": "zone-b", "node-3": "zone-c"}
# Systems, and the nodes that have a collector of each.
WATCHED = {
    "everywhere": ("node-1", "node-2", "node-3"),
    "ends": ("node-1", "node-2"),
    "first": ("node-1",),
    "second": ("node-2",),
}
NODE_PORTS = {"server-1": 30191, "server-2": 30192}
CALL = (
    *("--connections", "10", "--rounds", "3"),
    *("--bytes", "100", "--reply-bytes", "700"),
)
PROTOCOLS = ((), ("--udp",))

Systems = Mapping[str, WatchedCluster]


@pytest.fixture(scope="module")
def systems(
    kubernetes: KubernetesCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Systems]:
    """A client and a server on each of two nodes, and who watches them."""
    with two_more_nodes(kubernetes), ExitStack() as stack:
        kubernetes.create_namespace(PLACE)
        stack.callback(kubernetes.delete, "namespace", PLACE)
        for name, port in NODE_PORTS.items():
            node, client = node_of(name), name.replace("server", "client")
            kubernetes.apply(
                workload("Deployment", client, WAIT, node=node),
                workload("Deployment", name, node=node),
                service(name, node_port=port),
                namespace=PLACE,
            )
        systems = {}
        for name, nodes in WATCHED.items():
            watching = watch_cluster(
                kubernetes,
                tmp_path_factory.mktemp(name),
                f"nodes-{name}",
                nodes=[find_node(kubernetes, node) for node in nodes],
            )
            systems[name] = stack.enter_context(watching)
        for name in NODE_PORTS:
            for app in (name, name.replace("server", "client")):
                kubernetes.wait_for_pods(f"app={app}", 1, PLACE)
            kubernetes.wait_for_service(name, PLACE, pods=1)
        yield systems


@contextmanager
def two_more_nodes(cluster: KubernetesCluster) -> Iterator[None]:
    with ExitStack() as stack:
        for name in ("node-2", "node-3"):
            zone = {"topology.kubernetes.io/zone": ZONES[name]}
            node = cluster.add_node(name, "nftables", zone)
            stack.callback(cluster.remove_node, node)
        yield


def node_of(app: str) -> str:
    return f"node-{app[-1]}"


def find_node(cluster: KubernetesCluster, name: str) -> Node:
    (node,) = (node for node in cluster.nodes if node.name == name)
    return node


@pytest.fixture(scope="module")
def outside(kubernetes: KubernetesCluster) -> Host:
    return kubernetes.network.host("outside-nodes")


@pytest.fixture(scope="module")
def beside(kubernetes: KubernetesCluster) -> Host:
    return kubernetes.network.host("beside-nodes")


def told(systems: Systems) -> dict[str, Edges]:
    return {name: system.edges(PLACE) for name, system in systems.items()}


def wait_for(systems: Systems, expected: Mapping[str, Edges]) -> None:
    wait_for_edges(PLACE, [(systems[name], expected[name]) for name in systems])


@pytest.mark.parametrize(
    ("client", "server"),
    [("client-1", "server-2"), ("client-2", "server-1")],
    ids=["iptables", "nftables"],
)
def test_a_service_with_its_pod_on_another_node_is_that_pod(
    systems: Systems, client: str, server: str
) -> None:
    expected = told(systems)
    system = systems["everywhere"]
    addresses = system.cluster.service_addresses(server, PLACE)
    targets = [target(address, 80) for address in addresses]
    for flags in PROTOCOLS:
        called = system.call(PLACE, client, targets, *CALL, *flags)
        for name, nodes in WATCHED.items():
            # What the client asked for is seen on its own node only.
            asked = f"[{server}]" if node_of(client) in nodes else ""
            expected[name] += exchanged(client, f"{server}{asked}", called)
    wait_for(systems, expected)
    for name, nodes in WATCHED.items():
        ends = end(client, "source", nodes) | end(server, "dest", nodes)
        assert list_ends(systems[name], client, server) == [ends]


def end(app: str, side: str, watched: Sequence[str]) -> dict[str, str]:
    """Return what is told of the end that is this workload's."""
    node = node_of(app)
    return {
        f"{side}.node.name": node,
        f"{side}.availability_zone": ZONES[node],
        f"{side}.region": "region-1",
        f"{side}.resolution_type": "K8S_CONTAINER" if node in watched else "K8S_POD",
    }


def list_ends(system: WatchedCluster, client: str, server: str) -> list[dict[str, str]]:
    """Return the different ends of the edges from one workload to another."""
    names = end(client, "source", ()) | end(server, "dest", ())
    workloads = {"source.workload.name": client, "dest.workload.name": server}
    found = {
        tuple((name, labels.get(name, "")) for name in names)
        for labels in system.labels("tcp.bytes", workloads)
    }
    return [dict(items) for items in sorted(found)]


@pytest.mark.parametrize("flags", PROTOCOLS, ids=["TCP", "UDP"])
def test_a_third_node_passes_on_what_a_pod_calls(
    systems: Systems, flags: tuple[str, ...]
) -> None:
    expected = told(systems)
    system = systems["everywhere"]
    targets = node_targets(system.cluster, "node-3", "server-2")
    called = system.call(PLACE, "client-1", targets, *CALL, *flags)
    by_client = exchanged("client-1", "server-2[server-2]", called)
    by_server = exchanged("node-3", "server-2", called)
    expected["everywhere"] += by_client
    expected["first"] += by_client
    expected["second"] += by_server
    # Nobody sees that what comes from the third node is what went there.
    expected["ends"] += by_client + by_server
    wait_for(systems, expected)
    third = find_node(system.cluster, "node-3").host.address
    to_third = {"source.workload.name": "client-1", "dest.ip": third}
    by_third = {"source.ip": third, "dest.workload.name": "server-2"}
    asking, asked = ("K8S_CONTAINER", "K8S_SERVICE"), ("K8S_NODE", "K8S_CONTAINER")
    found = {
        name: kinds(system, to_third) | kinds(system, by_third)
        for name, system in systems.items()
    }
    assert found == {
        "everywhere": set(),
        "ends": {asking, asked},
        "first": {asking},
        "second": {asked},
    }


def kinds(system: WatchedCluster, wanted: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return how the ends of the edges with these labels got their names."""
    return {
        (labels["source.resolution_type"], labels["dest.resolution_type"])
        for labels in system.labels("tcp.bytes", wanted)
    }


@pytest.mark.parametrize(
    ("node", "server"),
    [("node-1", "server-2"), ("node-3", "server-1"), ("node-2", "server-2")],
    ids=["third-iptables", "third-nftables", "own-nftables"],
)
def test_a_node_passes_on_what_is_called_from_outside(
    systems: Systems, outside: Host, node: str, server: str
) -> None:
    expected = told(systems)
    targets = node_targets(systems["everywhere"].cluster, node, server)
    for there, own in zip(targets, addresses_of(outside), strict=True):
        for flags in PROTOCOLS:
            called = call_from(outside, there, *flags)
            for name in who_watches(server, node):
                expected[name] += exchanged(own, f"{server}[{server}]", called)
            for name in who_watches(server) - who_watches(node):
                expected[name] += exchanged(node, server, called)
    wait_for(systems, expected)


def test_clients_that_share_a_third_node_are_that_node(
    systems: Systems, outside: Host, beside: Host
) -> None:
    there = node_targets(systems["everywhere"].cluster, "node-3", "server-1")[0]
    watching = [systems[name] for name in sorted(who_watches("server-1"))]

    def call_from_both() -> Edges:
        called = [call_from(client, there) for client in (outside, beside)]
        return exchanged("node-3", "server-1", add_reports(called))

    # Until the second one comes the first one is known by its own address.
    before = [system.edges(PLACE).total() for system in watching]
    more = call_from_both().total()
    wait_until(
        lambda: [system.edges(PLACE).total() - more for system in watching] == before,
        30,
    )
    expected = told(systems)
    both = call_from_both()
    for name in who_watches("server-1"):
        expected[name] += both
    wait_for(systems, expected)


def who_watches(*names: str) -> set[str]:
    """Return the systems that watch the nodes of all these."""
    nodes = {node_of(name) for name in names}
    return {name for name, watched in WATCHED.items() if nodes <= {*watched}}


def node_targets(cluster: KubernetesCluster, node: str, server: str) -> list[str]:
    """Return where a Service is called at a node, by IPv4 and IPv6."""
    port = NODE_PORTS[server]
    found = addresses_of(find_node(cluster, node).host)
    return [target(address, port) for address in found]


def addresses_of(host: Host) -> tuple[str, str]:
    return host.address, host.address6


def call_from(host: Host, there: str, *flags: str) -> Object:
    printed = host.run(traffic_program(), "call", there, *CALL, *flags)
    report: Object = json.loads(printed.splitlines()[-1])
    return report
