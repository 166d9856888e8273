from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import tcp_traffic
from tests.world.hosts import Host, Network, cgroup_root
from tests.world.kubernetes import KubernetesCluster, remove_kubernetes_leftovers
from tests.world.kubernetes_api import Object
from tests.world.kubernetes_manifests import cron_job, pod, service, workload
from tests.world.kubernetes_programs import traffic_program

CALL = ("--connections", "10", "--bytes", "100", "--reply-bytes", "1000")
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@pytest.fixture(scope="module")
def server(kubernetes: KubernetesCluster) -> Iterator[str]:
    """A server with a Service and a node port, and a client; the server's pod."""
    things = (workload("Deployment", "server"), service("server", node_port=30080))
    kubernetes.apply(*things, pod("client"))
    kubernetes.wait_for_pods("app=client", 1)
    (found,) = kubernetes.wait_for_pods("app=server", 1)
    kubernetes.wait_for_service("server", pods=1)
    yield str(found["metadata"]["name"])
    kubernetes.delete("deployment/server", "service/server", "pod/client")


@pytest.fixture(scope="module")
def outside(kubernetes: KubernetesCluster) -> Host:
    return kubernetes.network.host("outside")


@FAMILIES
@PROTOCOLS
def test_a_service_is_reached_with_exact_counts(
    kubernetes: KubernetesCluster, server: str, family: int, protocol: str
) -> None:
    before = kubernetes.counted(server)[protocol]
    called = call_service(kubernetes, "server", family, protocol)
    assert (called["connections"], called["errors"]) == (10, 0)
    assert (called["bytes_sent"], called["bytes_received"]) == (1000, 10_000)
    served = wait_for_requests(kubernetes, server, protocol, before["requests"] + 10)
    assert served["bytes_received"] - before["bytes_received"] == 1000
    assert served["bytes_sent"] - before["bytes_sent"] == 10_000


@FAMILIES
@PROTOCOLS
def test_a_node_port_is_reached_from_outside(
    kubernetes: KubernetesCluster,
    outside: Host,
    server: str,
    family: int,
    protocol: str,
) -> None:
    before = kubernetes.counted(server)[protocol]["requests"]
    node = kubernetes.host
    target = f"[{node.address6}]:30080" if family else f"{node.address}:30080"
    flags = ["--udp"] if protocol == "udp" else []
    outside.run(traffic_program(), "call", target, *CALL, *flags)
    wait_for_requests(kubernetes, server, protocol, before + 10)


def test_a_cgroup_of_a_pod_has_its_uid(
    kubernetes: KubernetesCluster, server: str
) -> None:
    uid = kubernetes.pod(server)["metadata"]["uid"]
    cgroups = kubernetes.pod_cgroups(uid)
    assert len(cgroups) == 2  # with the pause container's
    assert all(f"/kubepods/besteffort/pod{uid}/" in cgroup for cgroup in cgroups)


def test_a_worker_calls_from_a_pod(kubernetes: KubernetesCluster, server: str) -> None:
    worker, listener = kubernetes.worker("client"), kubernetes.worker(server)
    listener.call(tcp_traffic.serve, "0.0.0.0", 6000, 10, 20)
    address = kubernetes.pod(server)["status"]["podIP"]
    worker.call(tcp_traffic.make_short_connections, address, 6000, 3, 10, 20)
    assert listener.call(tcp_traffic.read_served).connections == 3
    worker.close()
    listener.close()


def test_an_address_is_given_to_another_pod(kubernetes: KubernetesCluster) -> None:
    addresses = []
    for name in ("first", "second"):
        kubernetes.node.reuse_addresses()
        kubernetes.apply(pod(name))
        (made,) = kubernetes.wait_for_pods(f"app={name}", 1)
        addresses.append(made["status"]["podIPs"])
        kubernetes.delete(f"pod/{name}")
    assert addresses[0] == addresses[1]


def test_watches_expire(kubernetes: KubernetesCluster) -> None:
    path = "/api/v1/namespaces/default/pods"
    version = kubernetes.api.request("GET", path)["metadata"]["resourceVersion"]
    kubernetes.kubectl("create", "configmap", "newer")
    kubernetes.expire_watches()
    watch = f"{path}?watch=1&timeoutSeconds=1&resourceVersion={version}"
    event = kubernetes.api.request("GET", watch)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_names_of_services_and_pods_resolve(kubernetes: KubernetesCluster) -> None:
    kubernetes.create_namespace("named")
    kubernetes.start_dns()
    things = (workload("StatefulSet", "db"), service("db", headless=True), pod("c"))
    kubernetes.apply(*things, namespace="named")
    kubernetes.wait_for_pods("app=c", 1, "named")
    (served,) = kubernetes.wait_for_pods("app=db", 1, "named")
    for family, address in zip("46", served["status"]["podIPs"], strict=True):
        target = "db-0.db.named.svc.cluster.local:5000"
        called = kubernetes.call("c", target, "--family", family, namespace="named")
        assert list(called["peers"]) == [address["ip"]]
    kubernetes.delete("namespace/named")


def test_a_daemon_set_serves_on_the_host_and_a_cron_job_calls_it(
    kubernetes: KubernetesCluster,
) -> None:
    address = kubernetes.host.address
    arguments = ("serve", ":7000")
    kubernetes.apply(
        workload("DaemonSet", "agent", arguments, host_network=True),
        cron_job("caller", ("call", f"{address}:7000", *CALL)),
    )
    (agent,) = kubernetes.wait_for_pods("app=agent", 1)
    assert agent["status"]["podIP"] == address
    kubernetes.kubectl("create", "job", "--from=cronjob/caller", "now")
    kubernetes.kubectl("wait", "--for=condition=complete", "--timeout=60s", "job/now")
    wait_for_requests(kubernetes, agent["metadata"]["name"], "tcp", 10)
    kubernetes.delete("daemonset/agent", "cronjob/caller", "job/now")


def test_an_account_of_a_pod_reaches_the_api(kubernetes: KubernetesCluster) -> None:
    kubeconfig = kubernetes.api.write_account_kubeconfig("default")
    with pytest.raises(RuntimeError, match="cannot list resource"):
        kubernetes.kubectl("--kubeconfig", kubeconfig, "get", "pods")


def test_a_second_cluster_of_two_nodes_has_the_same_addresses(
    kubernetes: KubernetesCluster, tmp_path: Path
) -> None:
    network = Network(tmp_path)
    try:
        with KubernetesCluster(network, proxy_mode="nftables") as second:
            second.add_node("node-2", "nftables")
            second.apply(
                workload("Deployment", "server", node="node-2"),
                service("server", node_port=30080),
                pod("client", node="node-1"),
            )
            (client,) = second.wait_for_pods("app=client", 1)
            (found,) = second.wait_for_pods("app=server", 1)
            second.wait_for_service("server", pods=1)
            for family, protocol in ((0, "tcp"), (0, "udp"), (1, "tcp"), (1, "udp")):
                called = call_service(second, "server", family, protocol)
                assert (called["connections"], called["errors"]) == (10, 0)
            served = found["metadata"]["name"]
            for protocol in ("tcp", "udp"):
                wait_for_requests(second, served, protocol, 20)
            # Pods see each other's own addresses.
            clients = {address["ip"] for address in client["status"]["podIPs"]}
            assert set(second.counted(served)["peers"]) == clients
            # The node that is called is neither the client's nor the server's.
            target = f"{second.host.address}:30080"
            network.host("outside").run(traffic_program(), "call", target, *CALL)
            wait_for_requests(second, served, "tcp", 30)
            assert second.host.address in second.counted(served)["peers"]
    finally:
        network.close()
    assert list_traces(os.getpid(), network.name) == []


def test_a_killed_run_leaves_nothing_once_another_has_started(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        "import pathlib, sys\n"
        f"sys.path[:] = {sys.path}\n"
        "from tests.world.hosts import Network\n"
        "from tests.world.kubernetes import KubernetesCluster\n"
        f"cluster = KubernetesCluster(Network(pathlib.Path({str(tmp_path)!r})))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as killed:
        assert killed.stdout
        assert killed.stdout.readline() == "ready\n"
        assert list_traces(killed.pid)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        remove_kubernetes_leftovers()
        assert list_traces(killed.pid) == []


def call_service(
    cluster: KubernetesCluster, name: str, family: int, protocol: str
) -> Object:
    """Call a Service from the pod ``client`` and return what that counted."""
    address = cluster.service_addresses(name)[family]
    target = f"[{address}]:80" if family else f"{address}:80"
    flags = ["--udp"] if protocol == "udp" else []
    counts: Object = cluster.call("client", target, *CALL, *flags)[protocol]
    return counts


def wait_for_requests(
    cluster: KubernetesCluster, server: str, protocol: str, count: int
) -> Object:
    """Wait until a server had exactly so many requests and return what it counted."""
    cluster.wait_for(lambda: cluster.counted(server)[protocol]["requests"] == count)
    counts: Object = cluster.counted(server)[protocol]
    return counts


def list_traces(pid: int, network: str = "") -> list[str]:
    """Return what there is of a test run's clusters: cgroups, namespaces, files."""
    name = network or f"ebpfnet-{pid}-"
    directories = "" if network else f"ebpfnet-kubernetes-{pid}-"
    found = [
        *cgroup_root().glob(f"{name}*"),
        *cgroup_root().parent.glob(f"*/{name}*"),
        *Path("/run/netns").glob(f"{name}*"),
        *Path("/tmp").glob(f"{directories or name}*"),
        *Path("/dev/shm").glob(f"{directories or name}*"),
    ]
    return [*map(str, found)]
