"""What watches a cluster is cut off, or dies: names and numbers stay right."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from tests.world.kubernetes_edges import Edges, exchanged
from tests.world.kubernetes_manifests import service, workload
from tests.world.kubernetes_programs import traffic_program
from tests.world.kubernetes_system import CLUSTER_NAME, LEASE, WatchedCluster
from tests.world.waiting import wait_until
from tests.world.workers import Worker

# The first run on a machine builds Kubernetes.
pytestmark = pytest.mark.timeout(1200)

PLACE = "faults"
CALL = ("--connections", "10", "--bytes", "100", "--reply-bytes", "700")


@pytest.fixture(scope="module")
def faulty(watched: WatchedCluster) -> Iterator[WatchedCluster]:
    watched.start_web(PLACE)
    yield watched
    watched.cluster.delete("namespace", PLACE)


@pytest.fixture
def caller(faulty: WatchedCluster) -> Iterator[Worker]:
    """A process in the pod of ``caller``: it needs no API server."""
    (pod,) = faulty.cluster.pods("app=caller", PLACE)
    worker = faulty.cluster.worker(pod["metadata"]["name"], PLACE)
    yield worker
    worker.close()


def call_from(caller: Worker, target: str) -> Edges:
    """Let ``caller`` call ``web`` through its Service; return the edges of that."""
    command = [str(traffic_program()), "call", target, *CALL]
    printed = caller.call(subprocess.check_output, command)
    return exchanged("caller", "web[web]", json.loads(printed.splitlines()[-1]))


def call_new(faulty: WatchedCluster, name: str) -> Edges:
    """Let ``caller`` call a workload that is new; return the edges of that."""
    cluster = faulty.cluster
    cluster.apply(workload("Deployment", name), service(name), namespace=PLACE)
    cluster.wait_for_pods(f"app={name}", 1, PLACE)
    cluster.wait_for_service(name, PLACE, pods=1)
    address = cluster.service_addresses(name, PLACE)[0]
    called = faulty.call(PLACE, "caller", [f"{address}:80"], *CALL)
    return exchanged("caller", f"{name}[{name}]", called)


def test_names_outlive_the_api_server(faulty: WatchedCluster, caller: Worker) -> None:
    expected = faulty.edges(PLACE)
    target = faulty.web_targets(PLACE)[0]
    faulty.cluster.kill_api_server()
    expected += call_from(caller, target)
    faulty.wait_for_edges(PLACE, expected)
    faulty.cluster.start_api_server()
    wait_until_services_are_told(faulty)
    faulty.wait_for_edges(PLACE, expected + call_new(faulty, "after-restart"))


def wait_until_services_are_told(faulty: WatchedCluster) -> None:
    """Call a new Service until it has its name: each watch waits before it tries."""
    place = f"{PLACE}-again"
    faulty.start_web(place)

    def is_named() -> bool:
        faulty.call(place, "caller", faulty.web_targets(place)[:1], *CALL)
        return any("web[web]" in edge for edge in faulty.edges(place))

    wait_until(is_named, 60)


def test_watches_that_expired_begin_again(
    faulty: WatchedCluster, caller: Worker
) -> None:
    expected = faulty.edges(PLACE)
    target = faulty.web_targets(PLACE)[0]
    expired = count_expired(faulty)
    faulty.cluster.kubectl("create", "configmap", "newer", namespace=PLACE)
    faulty.cluster.expire_watches()
    faulty.cluster.wait_for(lambda: count_expired(faulty) > expired)
    expected += call_from(caller, target)
    faulty.wait_for_edges(PLACE, expected + call_new(faulty, "after-expiry"))


def count_expired(faulty: WatchedCluster) -> int:
    program = faulty.system.collectors[CLUSTER_NAME]
    return program.read_log().count("the watch expired; listing")


def test_another_replica_takes_over_when_the_leader_is_killed(
    faulty: WatchedCluster, caller: Worker
) -> None:
    expected = faulty.edges(PLACE)
    target = faulty.web_targets(PLACE)[0]
    leader = faulty.system.collectors[CLUSTER_NAME]
    follower = faulty.start_replica("replica-2")
    assert holder(faulty).startswith("replica-1_")
    leader.kill()
    expected += call_from(caller, target)
    faulty.cluster.wait_for(lambda: holder(faulty).startswith("replica-2_"))
    expected += call_from(caller, target)
    follower.wait_ready(lambda: "telling of cluster" in follower.read_log())
    faulty.wait_for_edges(PLACE, expected + call_new(faulty, "after-takeover"))


def holder(faulty: WatchedCluster) -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/default/leases/{LEASE}"
    return str(faulty.cluster.api.request("GET", path)["spec"]["holderIdentity"])
