"""Workloads of a real cluster that talk: who they are and how much, to the unit."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.world.kubernetes import KubernetesCluster
from tests.world.kubernetes_api import SERVICE_NETWORKS, Object
from tests.world.kubernetes_edges import add_reports, exchanged, target
from tests.world.kubernetes_manifests import WAIT, cron_job, service, workload
from tests.world.kubernetes_programs import traffic_program
from tests.world.kubernetes_system import CLUSTER_NAME, WatchedCluster

# The first run on a machine builds Kubernetes.
pytestmark = pytest.mark.timeout(1200)

SHOP, CLOCK = "shop", "clock"
NODE_PORT, AGENT_PORT = 30180, 7180
CALL = (
    *("--connections", "10", "--rounds", "3"),
    *("--bytes", "100", "--reply-bytes", "700"),
)
PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@pytest.fixture(scope="module")
def shop(watched: WatchedCluster) -> Iterator[WatchedCluster]:
    """A namespace with workloads that serve, and ``caller``, which calls them."""
    cluster = watched.cluster
    start_clock(watched)
    cluster.create_namespace(SHOP)
    cluster.start_dns()
    for flag, network in zip("46", SERVICE_NETWORKS.split(","), strict=True):
        # From a node itself Services are reached as all else that is far away.
        route = ("route", "replace", network, "dev", cluster.host.interface)
        cluster.host.ip(f"-{flag}", *route)
    agent = ("serve", f":{AGENT_PORT}")
    cluster.apply(
        workload("Deployment", "web"),
        service("web", node_port=NODE_PORT),
        workload("Deployment", "caller", WAIT),
        workload("StatefulSet", "db", replicas=2),
        service("db", headless=True),
        workload("DaemonSet", "agent", agent, host_network=True),
        namespace=SHOP,
    )
    for app, count in {"web": 1, "caller": 1, "db": 2, "agent": 1}.items():
        cluster.wait_for_pods(f"app={app}", count, SHOP)
    cluster.wait_for_service("web", SHOP, pods=1)
    yield watched
    cluster.delete("namespace", SHOP, CLOCK)


def start_clock(watched: WatchedCluster) -> None:
    """Let a CronJob call ``web`` each minute, in a namespace of its own."""
    watched.start_web(CLOCK)
    arguments = ("call", watched.web_targets(CLOCK)[0], *CALL)
    tick = cron_job("tick", arguments, "* * * * *")
    watched.cluster.apply(tick, namespace=CLOCK)


def flags(protocol: str) -> tuple[str, ...]:
    return (*CALL, "--udp") if protocol == "udp" else CALL


@PROTOCOLS
def test_a_cluster_address_is_its_pods(shop: WatchedCluster, protocol: str) -> None:
    before = shop.edges(SHOP)
    addresses = shop.cluster.service_addresses("web", SHOP)
    targets = [target(address, 80) for address in addresses]
    called = shop.call(SHOP, "caller", targets, *flags(protocol))
    assert called[protocol]["requests"] == 60
    shop.wait_for_edges(SHOP, before + exchanged("caller", "web[web]", called))


def test_both_ends_have_all_their_labels(shop: WatchedCluster) -> None:
    cluster = shop.cluster
    address = cluster.service_addresses("web", SHOP)[0]
    before = shop.edges(SHOP)
    called = shop.call(SHOP, "caller", [target(address, 80)], *CALL)
    shop.wait_for_edges(SHOP, before + exchanged("caller", "web[web]", called))
    wanted = {"aggregation": "id_id", "az_equal": "true"}
    for end, app in (("source", "caller"), ("dest", "web")):
        labels = expected_labels(shop, app) | (
            {"service.name": "web"} if app == "web" else {}
        )
        wanted |= {f"{end}.{name}": value for name, value in labels.items()}
    (pod,) = cluster.pods("app=web", SHOP)
    asked = {"dest.service.name": "web", "dest.ip": pod["status"]["podIP"]}
    caller = {"source.workload.name": "caller", "source.namespace.name": SHOP}
    (found,) = shop.labels("tcp.bytes", asked | caller)
    found.pop("sf_product")
    assert found == wanted


def expected_labels(shop: WatchedCluster, app: str) -> dict[str, str]:
    """Return the labels of the only pod of a Deployment."""
    api = shop.cluster.api
    (pod,) = shop.cluster.pods(f"app={app}", SHOP)
    path = f"/apis/apps/v1/namespaces/{SHOP}/deployments/{app}"
    return {
        "workload.name": app,
        "workload.uid": api.request("GET", path)["metadata"]["uid"],
        "namespace.name": SHOP,
        "pod": pod["metadata"]["name"],
        "container.name": "main",
        "process.name": "ebpf-net-test",
        "image_version": "1.0",
        "ip": pod["status"]["podIP"],
        "id": "node-1",
        "node.name": "node-1",
        "availability_zone": "zone-a",
        "region": "region-1",
        "resolution_type": "K8S_CONTAINER",
        "k8s.cluster.name": CLUSTER_NAME,
        "k8s.cluster.uid": api.request("GET", "/api/v1/namespaces/kube-system")[
            "metadata"
        ]["uid"],
    }


@PROTOCOLS
def test_a_node_port_is_its_pods_from_inside(
    shop: WatchedCluster, protocol: str
) -> None:
    before = shop.edges(SHOP)
    node = shop.cluster.host
    targets = [target(address, NODE_PORT) for address in (node.address, node.address6)]
    called = shop.call(SHOP, "caller", targets, *flags(protocol))
    shop.wait_for_edges(SHOP, before + exchanged("caller", "web[web]", called))


@PROTOCOLS
def test_a_node_port_keeps_its_client_from_outside(
    shop: WatchedCluster, protocol: str
) -> None:
    expected = shop.edges(SHOP)
    node = shop.cluster.host
    outside = shop.cluster.network.host(f"outside-{protocol}")
    for there, own in (
        (node.address, outside.address),
        (node.address6, outside.address6),
    ):
        call = ("call", target(there, NODE_PORT), *flags(protocol))
        printed = outside.run(traffic_program(), *call).splitlines()[-1]
        expected += exchanged(own, "web[web]", json.loads(printed))
    shop.wait_for_edges(SHOP, expected)


@PROTOCOLS
def test_a_pod_is_called_by_its_address(shop: WatchedCluster, protocol: str) -> None:
    before = shop.edges(SHOP)
    (pod,) = shop.cluster.pods("app=web", SHOP)
    targets = [target(one["ip"], 5000) for one in pod["status"]["podIPs"]]
    called = shop.call(SHOP, "caller", targets, *flags(protocol))
    shop.wait_for_edges(SHOP, before + exchanged("caller", "web", called))


def test_a_pod_of_a_headless_service_is_called_by_its_name(
    shop: WatchedCluster,
) -> None:
    before = shop.edges(SHOP)
    name = f"db-1.db.{SHOP}.svc.cluster.local:5000"
    calls = [shop.call(SHOP, "caller", [name], *CALL, "--family", one) for one in "46"]
    for called in calls:
        before += exchanged("caller", "db", called)
    names = "coredns[kube-dns]"
    shop.wait_for_edges(SHOP, before, leaving_out=names)
    assert shop.edges(SHOP)["caller", names, "udp.bytes"] > 0
    found = shop.labels("tcp.bytes", {"dest.workload.name": "db"})
    pods = {(one["dest.pod"], one["dest.resolution_type"]) for one in found}
    assert pods == {("db-1", "K8S_CONTAINER")}


@PROTOCOLS
def test_a_daemon_set_on_the_hosts_network_serves_and_calls(
    shop: WatchedCluster, protocol: str
) -> None:
    before = shop.edges(SHOP)
    node = shop.cluster.host
    targets = [target(one, AGENT_PORT) for one in (node.address, node.address6)]
    called = shop.call(SHOP, "caller", targets, *flags(protocol))
    addresses = shop.cluster.service_addresses("web", SHOP)
    targets = [target(address, 80) for address in addresses]
    calls = shop.call(SHOP, "agent", targets, *flags(protocol))
    expected = exchanged("caller", "agent", called)
    expected += exchanged("agent", "web[web]", calls)
    shop.wait_for_edges(SHOP, before + expected)


def test_a_job_of_a_cron_job_is_the_cron_jobs(shop: WatchedCluster) -> None:
    cluster = shop.cluster
    before = shop.edges(SHOP)
    address = cluster.service_addresses("web", SHOP)[0]
    cluster.apply(
        cron_job("report", ("call", target(address, 80), *CALL)), namespace=SHOP
    )
    cluster.kubectl("create", "job", "--from=cronjob/report", "now", namespace=SHOP)
    wait = ("wait", "--for=condition=complete", "--timeout=60s", "job/now")
    cluster.kubectl(*wait, namespace=SHOP)
    pods = f"/api/v1/namespaces/{SHOP}/pods?labelSelector=app=report"
    (pod,) = cluster.api.request("GET", pods)["items"]
    called = cluster.counted(pod["metadata"]["name"], SHOP)
    shop.wait_for_edges(SHOP, before + exchanged("report", "web[web]", called))


def test_a_cron_job_that_starts_by_itself_is_named(shop: WatchedCluster) -> None:
    cluster = shop.cluster
    cluster.wait_for(lambda: list_finished(cluster), 75)
    suspend = ("patch", "cronjob/tick", "--patch", '{"spec": {"suspend": true}}')
    cluster.kubectl(*suspend, namespace=CLOCK)
    cluster.wait_for(lambda: len(list_finished(cluster)) == len(list_jobs(cluster)))
    pods = cluster.pods("app=tick", CLOCK)
    assert len(pods) == len(list_jobs(cluster))
    counted = [cluster.counted(pod["metadata"]["name"], CLOCK) for pod in pods]
    shop.wait_for_edges(CLOCK, exchanged("tick", "web[web]", add_reports(counted)))
    path = f"/apis/batch/v1/namespaces/{CLOCK}/cronjobs/tick"
    uid = cluster.api.request("GET", path)["metadata"]["uid"]
    found = shop.labels("tcp.bytes", {"source.workload.name": "tick"})
    assert {one["source.workload.uid"] for one in found} == {uid}
    names = {pod["metadata"]["name"] for pod in pods}
    assert {one["source.pod"] for one in found} == names


def list_jobs(cluster: KubernetesCluster) -> list[Object]:
    path = f"/apis/batch/v1/namespaces/{CLOCK}/jobs"
    jobs: list[Object] = cluster.api.request("GET", path)["items"]
    return jobs


def list_finished(cluster: KubernetesCluster) -> list[Object]:
    return [job for job in list_jobs(cluster) if job["status"].get("succeeded")]
