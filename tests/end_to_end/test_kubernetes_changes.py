"""Workloads that change while they are called: each byte is of who it was then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.world.kubernetes_edges import Edges, exchanged
from tests.world.kubernetes_system import WatchedCluster

# The first run on a machine builds Kubernetes.
pytestmark = pytest.mark.timeout(1200)

PLACE = "changing"
CALL = ("--connections", "10", "--bytes", "100", "--reply-bytes", "700")
REFUSED = ("--connections", "2")  # kube-proxy's refusals are limited to one a second


@pytest.fixture(scope="module")
def changing(watched: WatchedCluster) -> Iterator[WatchedCluster]:
    watched.start_web(PLACE)
    yield watched
    watched.cluster.delete("namespace", PLACE)


def call_web(changing: WatchedCluster) -> Edges:
    """Let ``caller`` call ``web`` through its Service; return the edges of that."""
    targets = changing.web_targets(PLACE)
    return exchanged(
        "caller", "web[web]", changing.call(PLACE, "caller", targets, *CALL)
    )


def served_pods(changing: WatchedCluster) -> set[str]:
    found = changing.labels("tcp.bytes", {"source.namespace.name": PLACE})
    return {one["dest.pod"] for one in found if one["dest.workload.name"] == "web"}


def test_a_rollout_changes_the_pods_only(changing: WatchedCluster) -> None:
    cluster = changing.cluster
    expected = changing.edges(PLACE) + call_web(changing)
    (old,) = cluster.pods("app=web", PLACE)
    cluster.kubectl("set", "env", "deployment/web", "VERSION=2", namespace=PLACE)
    rollout = ("rollout", "status", "--timeout=60s", "deployment/web")
    cluster.kubectl(*rollout, namespace=PLACE)
    (new,) = cluster.wait_for_pods("app=web", 1, PLACE)
    cluster.wait_for_service("web", PLACE, pods=1)
    changing.wait_for_edges(PLACE, expected + call_web(changing))
    assert served_pods(changing) == {pod["metadata"]["name"] for pod in (old, new)}


def test_a_deleted_pod_gives_way_to_another_one(changing: WatchedCluster) -> None:
    cluster = changing.cluster
    before = served_pods(changing)
    expected = changing.edges(PLACE) + call_web(changing)
    (old,) = cluster.pods("app=web", PLACE)
    cluster.delete(f"pod/{old['metadata']['name']}", namespace=PLACE)
    (new,) = cluster.wait_for_pods("app=web", 1, PLACE)
    cluster.wait_for_service("web", PLACE, pods=1)
    changing.wait_for_edges(PLACE, expected + call_web(changing))
    names = {pod["metadata"]["name"] for pod in (old, new)}
    assert served_pods(changing) == before | names


def test_a_service_without_pods_refuses_as_itself(changing: WatchedCluster) -> None:
    cluster = changing.cluster
    expected = changing.edges(PLACE)
    scale = ("scale", "deployment/web")
    cluster.kubectl(*scale, "--replicas=0", namespace=PLACE)
    cluster.wait_for_pods("app=web", 0, PLACE)
    cluster.wait_for_service("web", PLACE, pods=0)
    with pytest.raises(RuntimeError, match="exit code 1"):
        changing.call(PLACE, "caller", changing.web_targets(PLACE)[:1], *REFUSED)
    expected += Edges({("caller", "web[web]", "tcp.connect.failures"): 2})
    changing.wait_for_edges(PLACE, expected)
    cluster.kubectl(*scale, "--replicas=2", namespace=PLACE)
    cluster.wait_for_pods("app=web", 2, PLACE)
    cluster.wait_for_service("web", PLACE, pods=2)
    changing.wait_for_edges(PLACE, expected + call_web(changing))
