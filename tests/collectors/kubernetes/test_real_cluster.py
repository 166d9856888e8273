"""What a real cluster's controllers and kubelet write, as rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.collectors.kubernetes.told import Told
from tests.world.kubernetes import KubernetesCluster
from tests.world.kubernetes_manifests import cron_job, pod, service, workload
from tests.world.waiting import wait_until

from ebpf_net.collectors.addresses import parse_address
from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.kubernetes.access import read_kubeconfig
from ebpf_net.collectors.kubernetes.api import ApiServer
from ebpf_net.collectors.kubernetes.collector import (
    CollectorOptions,
    KubernetesCollector,
)
from ebpf_net.collectors.kubernetes.credentials import Credentials

pytestmark = pytest.mark.timeout(1200)

WORKLOAD = ("workload_kind", "workload_name")


@pytest.fixture(scope="module")
def told(kubernetes: KubernetesCluster) -> Iterator[Told]:
    access = read_kubeconfig((kubernetes.kubeconfig,))
    told = Told()
    collector = KubernetesCollector(
        ApiServer(access, Credentials(access)),
        CollectorOptions("host", interval_seconds=0.5, delete_ttl_seconds=1.0),
        SystemClock(),
        told.connect,
    )
    thread = threading.Thread(target=collector.run)
    thread.start()
    wait_until(told.windows, 30)
    yield told
    collector.stop()
    thread.join(20)
    assert not thread.is_alive()


def addresses_of(told: Told, uid: str) -> set[tuple[int, int]]:
    columns = ("owner_uid", "until_ns", "address_high", "address_low")
    return {
        (high, low)
        for owner, until_ns, high, low in told.rows("addresses", *columns)
        if (owner, until_ns) == (uid, 0)
    }


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_a_pod_has_its_controller_and_both_addresses(
    kubernetes: KubernetesCluster, told: Told, kind: str
) -> None:
    name = kind.lower()
    kubernetes.apply(workload(kind, name), service(name, headless=True))
    (found,) = kubernetes.wait_for_pods(f"app={name}", 1)
    uid = found["metadata"]["uid"]
    told.wait_for("pods", ("pod_uid", *WORKLOAD), (uid, kind, name))
    expected = {parse_address(one["ip"]) for one in found["status"]["podIPs"]}
    assert len(expected) == 2
    wait_until(lambda: addresses_of(told, uid) == expected, 20)
    container_id = found["status"]["containerStatuses"][0]["containerID"]
    row = (uid, "main", container_id.removeprefix("containerd://"))
    told.wait_for("containers", ("pod_uid", "name", "container_id"), row)
    wait_until(lambda: (uid,) in told.rows("endpoints", "pod_uid"), 20)
    kubernetes.delete(f"{kind}/{name}", f"service/{name}")
    wait_until(lambda: (uid,) not in told.rows("pods", "pod_uid"), 60)
    assert addresses_of(told, uid) == set()


def test_a_pod_on_the_hosts_network_has_no_address(
    kubernetes: KubernetesCluster, told: Told
) -> None:
    kubernetes.apply(pod("on-host", host_network=True))
    (found,) = kubernetes.wait_for_pods("app=on-host", 1)
    uid = found["metadata"]["uid"]
    columns = ("pod_uid", "host_network", *WORKLOAD)
    told.wait_for("pods", columns, (uid, True, "Pod", "on-host"))
    assert addresses_of(told, uid) == set()
    kubernetes.delete("pod/on-host")


def test_a_pod_of_a_cron_job_ends_when_it_is_done(
    kubernetes: KubernetesCluster, told: Told
) -> None:
    kubernetes.apply(cron_job("nightly", ["wait"]))
    kubernetes.api.kubectl("create", "job", "once", "--from=cronjob/nightly")
    (found,) = kubernetes.wait_for_pods("app=nightly", 1)
    uid, name = found["metadata"]["uid"], found["metadata"]["name"]
    told.wait_for("pods", ("pod_uid", *WORKLOAD), (uid, "CronJob", "nightly"))
    wait_until(lambda: len(addresses_of(told, uid)) == 2, 20)
    kubernetes.api.kubectl("delete", "pod", name, "--wait=false")
    wait_until(lambda: addresses_of(told, uid) == set(), 60)
    kubernetes.delete("cronjob/nightly")


def test_a_rollout_makes_other_pods_of_the_same_workload(
    kubernetes: KubernetesCluster, told: Told
) -> None:
    kubernetes.apply(workload("Deployment", "web", replicas=2))
    before = {one["metadata"]["uid"] for one in kubernetes.wait_for_pods("app=web", 2)}
    web = [(uid, "Deployment", "web") for uid in before]
    told.wait_for("pods", ("pod_uid", *WORKLOAD), *web)
    kubernetes.api.kubectl("rollout", "restart", "deployment/web")
    kubernetes.api.kubectl("rollout", "status", "deployment/web")

    def live() -> set[str]:
        rows = told.rows("pods", "pod_uid", "workload_name")
        return {uid for uid, name in rows if name == "web" and addresses_of(told, uid)}

    wait_until(lambda: len(live()) == 2 and not live() & before, 60, live)
    kubernetes.api.kubectl("scale", "deployment/web", "--replicas=0")
    wait_until(lambda: live() == set(), 60, live)
    kubernetes.delete("deployment/web")


def test_a_service_and_its_node_port_are_addresses(
    kubernetes: KubernetesCluster, told: Told
) -> None:
    kubernetes.apply(workload("Deployment", "api"), service("api", node_port=30081))
    (found,) = kubernetes.wait_for_pods("app=api", 1)
    kubernetes.wait_for_service("api", pods=1)
    path = "/api/v1/namespaces/default/services/api"
    made = kubernetes.api.request("GET", path)
    uid = made["metadata"]["uid"]
    columns = ("owner_uid", "kind", "address_high", "address_low", "port", "protocol")
    rows = [
        (uid, "service", *(parse_address(text) or ()), 0, 0)
        for text in made["spec"]["clusterIPs"]
    ]
    rows += [(uid, "node_port", 0, 0, 30081, protocol) for protocol in (6, 17)]
    told.wait_for("addresses", columns, *rows)
    endpoints = ("service_uid", "pod_uid", "address_high", "address_low", "port")
    pod_uid = found["metadata"]["uid"]
    rows = [
        (uid, pod_uid, *(parse_address(one["ip"]) or ()), 5000)
        for one in found["status"]["podIPs"]
    ]
    told.wait_for("endpoints", endpoints, *rows)
    kubernetes.delete("deployment/api", "service/api")
    wait_until(lambda: (uid,) not in told.rows("services", "service_uid"), 60)


def test_the_node_tells_who_and_where_it_is(
    kubernetes: KubernetesCluster, told: Told
) -> None:
    (found,) = kubernetes.api.request("GET", "/api/v1/nodes")["items"]
    info, uid = found["status"]["nodeInfo"], found["metadata"]["uid"]
    columns = ("node_uid", "name", "machine_id", "boot_id", "zone", "region")
    labels = found["metadata"]["labels"]
    zone = labels["topology.kubernetes.io/zone"]
    region = labels["topology.kubernetes.io/region"]
    machine_id = info["machineID"].replace("-", "")
    row = (uid, "node-1", machine_id, info["bootID"], zone, region)
    told.wait_for("nodes", columns, row)
    expected = {
        parse_address(one["address"])
        for one in found["status"]["addresses"]
        if one["type"] == "InternalIP"
    }
    assert addresses_of(told, uid) == expected
