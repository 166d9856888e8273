"""The cluster's collector in pods of its manifest, with the rights that it grants."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.world.exposition import read_samples, scrape
from tests.world.kubernetes import KubernetesCluster
from tests.world.kubernetes_deployed import (
    INTAKE_NAME,
    NAMESPACE,
    deploy_collector,
    find_leader,
    list_replicas,
    remove_collector,
    restart_collector,
    take_right_away,
)
from tests.world.kubernetes_edges import Edges, exchanged
from tests.world.kubernetes_system import WatchedCluster
from tests.world.otel_collector import run_otel_collector
from tests.world.system import System
from tests.world.waiting import wait_until

from ebpf_net.collectors.kubernetes.collector import RESTATED_WINDOWS
from ebpf_net.collectors.kubernetes.resources import RESOURCES

# The first run on a machine builds Kubernetes.
pytestmark = pytest.mark.timeout(1200)

PLACE = "deployed"
CALL = ("--connections", "10", "--bytes", "100", "--reply-bytes", "700")
ALL_SIGNALS = {
    *((f"kubernetes_{resource.name}", "watch", 1.0) for resource in RESOURCES),
    ("kubernetes_api", "answers", 1.0),
    ("kubernetes_lease", "held", 1.0),
}
FORGOTTEN_WINDOWS = 8  # what only a former replica told is kept for six
NODE_LABELS = {
    "node.name": "node-1",
    "availability_zone": "zone-a",
    "region": "region-1",
}
ENDS = ("source", "dest")

Signals = set[tuple[str, str, float]]  # signal, how it is attached, whether it works


@pytest.fixture(scope="module")
def deployed(
    kubernetes: KubernetesCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedCluster]:
    """A reducer with TLS and a token, the node's collector, and the cluster's pods."""
    directory = tmp_path_factory.mktemp("deployed")
    address = kubernetes.outer_address
    authority = kubernetes.api.authority
    names = (f"DNS:{INTAKE_NAME}", f"IP:{address}")
    certificate, key = authority.sign("reducer", "reducer", names=names)
    token = directory / "token"
    token.write_text("3c5bd8a1\n")
    with run_otel_collector(directory) as otel, System(directory, otel) as system:
        watched = WatchedCluster(kubernetes, system, otel, PLACE)
        system.start_reducer(
            *("--listen-host", address, "--intake-token-file", str(token)),
            *("--intake-certificate", str(certificate), "--intake-key", str(key)),
        )
        watched.start_node_collector(
            kubernetes.node,
            *("--intake-host", address, "--intake-token-file", str(token)),
            *("--intake-ca", str(authority.certificate)),
        )
        watched.start_web(PLACE)
        intake = (address, system.intake_port)
        deploy_collector(kubernetes, token, authority.certificate, intake)
        yield watched
        remove_collector(kubernetes, PLACE)
        watched.close()


def signals(deployed: WatchedCluster) -> Signals:
    """Return what the replica that tells says of its signals."""
    leader = find_leader(deployed.cluster)
    samples = read_samples(scrape(deployed.system.internal_port))
    return {
        (sample.labels["signal"], sample.labels["attach"], sample.value)
        for sample in samples
        if sample.name == "ebpf_net_collector_signal"
        and sample.labels["host"] == leader
    }


def count_rows(deployed: WatchedCluster) -> dict[str, float]:
    """Return how many rows of each table of the cluster's have come."""
    samples = read_samples(scrape(deployed.system.internal_port))
    return {
        sample.labels["table"]: sample.value
        for sample in samples
        if sample.name == "ebpf_net_intake_rows"
        and sample.labels["table"].startswith("kubernetes_")
    }


def logs(deployed: WatchedCluster) -> str:
    cluster = deployed.cluster
    replicas = list_replicas(cluster)
    return "".join(cluster.logs(name, NAMESPACE) for name in replicas)


def call_web(deployed: WatchedCluster) -> Edges:
    """Let ``caller`` call ``web`` through its Service; return the edges of that."""
    targets = deployed.web_targets(PLACE)
    called = deployed.call(PLACE, "caller", targets, *CALL)
    return exchanged("caller", "web[web]", called)


def wait_until_told(deployed: WatchedCluster, expected: Signals) -> None:
    wait_until(lambda: signals(deployed) == expected, 60, lambda: signals(deployed))


def list_labels(deployed: WatchedCluster) -> list[dict[str, str]]:
    """Return the different labels of edges from ``caller`` to ``web``."""
    caller = {"source.workload.name": "caller", "source.namespace.name": PLACE}
    return deployed.labels("tcp.bytes", caller)


def test_the_rights_of_the_manifest_tell_all_tables(deployed: WatchedCluster) -> None:
    cluster = deployed.cluster
    wait_until_told(deployed, ALL_SIGNALS)
    wait_until(lambda: all(count_rows(deployed).values()), 30)
    assert not re.search("WARNING|ERROR", logs(deployed)), logs(deployed)
    deployed.wait_for_edges(PLACE, call_web(deployed))
    system = cluster.api.request("GET", "/api/v1/namespaces/kube-system")
    known = {
        "k8s.cluster.name": "production",
        "k8s.cluster.uid": system["metadata"]["uid"],
        "container.name": "main",
        **NODE_LABELS,
    }
    wanted = {f"{end}.{name}": value for end in ENDS for name, value in known.items()}
    for labels in list_labels(deployed):
        assert wanted.items() <= labels.items()


def test_the_lease_goes_to_another_replica(deployed: WatchedCluster) -> None:
    cluster = deployed.cluster
    first = find_leader(cluster)
    (second,) = {*list_replicas(cluster)} - {first}
    assert "telling of cluster" not in cluster.logs(second, NAMESPACE)
    expected = deployed.edges(PLACE) + call_web(deployed)
    cluster.delete(f"pod/{first}", namespace=NAMESPACE)
    # Its successor may come before the one that stood by.
    cluster.wait_for(
        lambda: find_leader(cluster) in {*list_replicas(cluster)} - {first}
    )
    wait_until_told(deployed, ALL_SIGNALS)
    deployed.wait_for_edges(PLACE, expected + call_web(deployed))


def test_a_right_that_is_missing_loses_that_table(deployed: WatchedCluster) -> None:
    named = list_labels(deployed)
    take_right_away(deployed.cluster, "nodes", "list")
    restart_collector(deployed.cluster)
    others = {one for one in ALL_SIGNALS if one[0] != "kubernetes_nodes"}
    wait_until_told(deployed, {*others, ("kubernetes_nodes", "no_list", 0.0)})
    assert "not allowed to list nodes: nodes are not known" in logs(deployed)
    deployed.wait_for_windows(FORGOTTEN_WINDOWS)
    before = count_rows(deployed)
    deployed.wait_for_edges(PLACE, deployed.edges(PLACE) + call_web(deployed))
    deployed.wait_for_windows(RESTATED_WINDOWS)
    after = count_rows(deployed)
    lost = {name for name in after if after[name] == before[name]}
    assert lost == {"kubernetes_nodes"}
    unnamed = [labels for labels in list_labels(deployed) if labels not in named]
    assert unnamed == [without_node(labels) for labels in named]


def without_node(labels: dict[str, str]) -> dict[str, str]:
    """Return labels as they are where nothing is known of nodes."""
    lost = {f"{end}.{name}" for end in ENDS for name in NODE_LABELS}
    rest = {name: value for name, value in labels.items() if name not in lost}
    return rest | {f"{end}.availability_zone": "(unknown)" for end in ENDS}
