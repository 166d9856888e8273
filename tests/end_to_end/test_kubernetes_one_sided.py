"""Pods that no collector watches are named by their addresses, by time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from tests.world.kubernetes import KubernetesCluster
from tests.world.kubernetes_edges import Edges, exchanged, target
from tests.world.kubernetes_manifests import SERVE, Manifest, pod, service
from tests.world.kubernetes_system import WatchedCluster, watch_cluster

# The first run on a machine builds Kubernetes.
pytestmark = pytest.mark.timeout(1200)

PLACE = "one-sided"
CALL = ("--connections", "10", "--bytes", "100", "--reply-bytes", "700")


def seen_pod(name: str, *arguments: str) -> Manifest:
    """A pod whose class of service, so its cgroup, the collector does not leave out."""
    made = pod(name, arguments or ("wait",))
    (container,) = made["spec"]["containers"]  # type: ignore[index]
    container["resources"] = {"requests": {"cpu": "1m"}}
    return made


@pytest.fixture(scope="module")
def one_sided(
    kubernetes: KubernetesCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedCluster]:
    """``seen`` and ``seen-server`` have a collector, ``hidden`` and ``far`` none."""
    directory = tmp_path_factory.mktemp("one-sided")
    unseen = f"{kubernetes.host.cgroup.path}/kubepods/besteffort"
    kubernetes.create_namespace(PLACE)
    with watch_cluster(
        kubernetes, directory, PLACE, "--exclude-cgroup", unseen
    ) as watched:
        kubernetes.apply(
            seen_pod("seen"),
            seen_pod("seen-server", *SERVE),
            pod("hidden"),
            pod("far", SERVE),
            service("far"),
            namespace=PLACE,
        )
        for name in ("seen", "seen-server", "hidden", "far"):
            kubernetes.wait_for_pods(f"app={name}", 1, PLACE)
        kubernetes.wait_for_service("far", PLACE, pods=1)
        yield watched
    kubernetes.delete("namespace", PLACE)


def addresses(one_sided: WatchedCluster, name: str) -> list[str]:
    found = one_sided.cluster.pod(name, PLACE)["status"]["podIPs"]
    return [target(one["ip"], 5000) for one in found]


def kinds(one_sided: WatchedCluster, source: str, dest: str) -> set[tuple[str, str]]:
    """Return how the ends of these pods got their names."""
    wanted = {"source.pod": source, "dest.pod": dest}
    return {
        (one["source.resolution_type"], one["dest.resolution_type"])
        for one in one_sided.labels("tcp.bytes", wanted)
    }


def test_a_server_without_a_collector_is_named(one_sided: WatchedCluster) -> None:
    expected = one_sided.edges(PLACE)
    called = one_sided.call(PLACE, "seen", addresses(one_sided, "far"), *CALL)
    expected += exchanged("seen", "far", called)
    services = one_sided.cluster.service_addresses("far", PLACE)
    targets = [target(address, 80) for address in services]
    called = one_sided.call(PLACE, "seen", targets, *CALL)
    expected += exchanged("seen", "far[far]", called)
    one_sided.wait_for_edges(PLACE, expected)
    assert kinds(one_sided, "seen", "far") == {("K8S_CONTAINER", "K8S_POD")}


def test_a_client_without_a_collector_is_named(one_sided: WatchedCluster) -> None:
    before = one_sided.edges(PLACE)
    targets = addresses(one_sided, "seen-server")
    called = one_sided.call(PLACE, "hidden", targets, *CALL)
    one_sided.wait_for_edges(PLACE, before + exchanged("hidden", "seen-server", called))
    assert kinds(one_sided, "hidden", "seen-server") == {("K8S_POD", "K8S_CONTAINER")}


def test_an_address_is_of_the_pod_that_had_it_then(one_sided: WatchedCluster) -> None:
    cluster = one_sided.cluster
    expected = one_sided.edges(PLACE)
    used = []
    worker = cluster.worker("seen", PLACE)
    for name in ("first", "second"):
        cluster.node.reuse_addresses()
        cluster.apply(pod(name, SERVE), namespace=PLACE)
        cluster.wait_for_pods(f"app={name}", 1, PLACE)
        used.append(addresses(one_sided, name))
        # It would still send to the interface of the pod that is gone.
        worker.call(subprocess.check_call, ["ip", "neighbour", "flush", "all"])
        expected += call_once(one_sided, name)
        cluster.delete(f"pod/{name}", namespace=PLACE)
    worker.close()
    assert used[0] == used[1]
    one_sided.wait_for_edges(PLACE, expected)


def call_once(one_sided: WatchedCluster, name: str) -> Edges:
    called = one_sided.call(PLACE, "seen", addresses(one_sided, name), *CALL)
    return exchanged("seen", name, called)
