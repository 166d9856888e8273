"""Two clusters whose pods have the same addresses, and one reducer: never mixed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.world import tcp_traffic
from tests.world.hosts import Host, Network
from tests.world.kubernetes_api import KubernetesControlPlane
from tests.world.kubernetes_edges import Edges, exchanged, target
from tests.world.kubernetes_objects import WrittenPod, write_node, write_pod
from tests.world.kubernetes_system import (
    CLUSTER_NAME,
    WatchedCluster,
    start_kubernetes_collector,
)

# The first run on a machine builds Kubernetes.
pytestmark = pytest.mark.timeout(1200)

PLACE, OTHER_NAME = "twins", "cluster-2"
CALL = ("--connections", "10", "--bytes", "100", "--reply-bytes", "700")
COUNT, REQUEST, REPLY = 7, 50, 90


@pytest.fixture
def addresses(watched: WatchedCluster) -> Iterator[tuple[str, str]]:
    """Start ``caller`` and ``web`` in the real cluster; return their addresses."""
    watched.start_web(PLACE)
    pods = [watched.cluster.pods(f"app={app}", PLACE)[0] for app in ("caller", "web")]
    caller, web = (pod["status"]["podIP"] for pod in pods)
    yield caller, web
    watched.cluster.delete("namespace", PLACE)


@pytest.fixture
def other(
    watched: WatchedCluster, network: Network, addresses: tuple[str, str]
) -> Iterator[tuple[WrittenPod, Host, Host]]:
    """A cluster with ``alpha`` and ``beta`` at these addresses; alpha is watched."""
    hosts = [network.host(name) for name in ("alpha-host", "beta-host")]
    for host, address in zip(hosts, addresses, strict=True):
        host.ip("address", "add", f"{address}/24", "dev", host.interface)
    with KubernetesControlPlane() as plane:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        plane.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": PLACE}})
        for host in hosts:
            write_node(plane.api, host.name, host.address, boot_id)
        alpha, _ = (
            write_pod(plane.api, PLACE, name, host.name, address)
            for name, host, address in zip(
                ("alpha", "beta"), hosts, addresses, strict=True
            )
        )
        system = watched.system
        start_kubernetes_collector(
            system, "other-replica", plane.kubeconfig, OTHER_NAME
        )
        system.start_collector(hosts[0])
        yield alpha, hosts[0], hosts[1]
        system.stop_collector(hosts[0].name)
        system.stop_collector(OTHER_NAME)


def test_pods_with_the_same_addresses_are_told_apart(
    watched: WatchedCluster,
    addresses: tuple[str, str],
    other: tuple[WrittenPod, Host, Host],
) -> None:
    _, web = addresses
    alpha, alpha_host, beta_host = other
    serving, calling = beta_host.worker(), alpha.worker(alpha_host)
    serving.call(tcp_traffic.serve, web, 5000, REQUEST, REPLY)
    called = calling.submit(
        tcp_traffic.make_short_connections, web, 5000, COUNT, REQUEST, REPLY
    )
    report = watched.call(PLACE, "caller", [target(web, 5000)], *CALL)
    called.result(60)
    expected = exchanged("caller", "web", report) + Edges(
        {
            ("alpha", "beta", "tcp.bytes"): COUNT * REQUEST,
            ("beta", "alpha", "tcp.bytes"): COUNT * REPLY,
            ("alpha", "beta", "tcp.new_sockets"): COUNT,
            ("beta", "alpha", "tcp.new_sockets"): COUNT,
        }
    )
    watched.wait_for_edges(PLACE, expected)
    calling.close()
    assert clusters(watched, "caller") == {(CLUSTER_NAME, CLUSTER_NAME)}
    assert clusters(watched, "alpha") == {(OTHER_NAME, OTHER_NAME)}


def clusters(watched: WatchedCluster, source: str) -> set[tuple[str, str]]:
    """Return in which clusters the ends of a workload's edges are."""
    wanted = {"source.workload.name": source, "source.namespace.name": PLACE}
    return {
        (one["source.k8s.cluster.name"], one["dest.k8s.cluster.name"])
        for one in watched.labels("tcp.bytes", wanted)
    }
