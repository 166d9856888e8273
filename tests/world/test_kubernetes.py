import pytest

from tests.world import tcp_traffic
from tests.world.hosts import Host
from tests.world.kubernetes import KubernetesCluster
from tests.world.kubernetes_api import KubernetesControlPlane
from tests.world.kubernetes_manifests import pod, service, workload
from tests.world.kubernetes_programs import traffic_program

# The first run on a machine builds Kubernetes.
pytestmark = pytest.mark.timeout(1200)

CALL = ("--connections", "10", "--bytes", "100", "--reply-bytes", "1000")


@pytest.fixture(scope="module")
def server(kubernetes: KubernetesCluster) -> str:
    """A server with a Service and a node port, and a client; the server's pod."""
    kubernetes.apply(
        workload("Deployment", "server"), service("server", node_port=30080)
    )
    kubernetes.apply(pod("client"))
    kubernetes.wait_for_pods("app=client", 1)
    (found,) = kubernetes.wait_for_pods("app=server", 1)
    kubernetes.wait_for_service("server")
    return str(found["metadata"]["name"])


@pytest.fixture(scope="module")
def outside(kubernetes: KubernetesCluster) -> Host:
    return kubernetes.network.host("outside")


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_service_is_reached_with_exact_counts(
    kubernetes: KubernetesCluster, server: str, family: int, protocol: str
) -> None:
    before = kubernetes.counted(server)[protocol]
    address = kubernetes.service_addresses("server")[family]
    target = f"[{address}]:80" if family else f"{address}:80"
    flags = ["--udp"] if protocol == "udp" else []
    called = kubernetes.call("client", target, *CALL, *flags)[protocol]
    assert (called["connections"], called["errors"]) == (10, 0)
    assert (called["bytes_sent"], called["bytes_received"]) == (1000, 10_000)
    kubernetes.wait_for(
        lambda: (
            kubernetes.counted(server)[protocol]["requests"] == before["requests"] + 10
        )
    )
    after = kubernetes.counted(server)[protocol]
    assert after["bytes_received"] - before["bytes_received"] == 1000
    assert after["bytes_sent"] - before["bytes_sent"] == 10_000


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_a_node_port_is_reached_from_outside(
    kubernetes: KubernetesCluster, outside: Host, server: str, family: int
) -> None:
    before = kubernetes.counted(server)["tcp"]["connections"]
    node = kubernetes.host
    target = f"[{node.address6}]:30080" if family else f"{node.address}:30080"
    outside.run(traffic_program(), "call", target, "--connections", "5")
    kubernetes.wait_for(
        lambda: kubernetes.counted(server)["tcp"]["connections"] == before + 5
    )


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
    pod_address = kubernetes.pod(server)["status"]["podIP"]
    worker.call(tcp_traffic.make_short_connections, pod_address, 6000, 3, 10, 20)
    assert listener.call(tcp_traffic.read_served).connections == 3
    worker.close()
    listener.close()


def test_watches_expire(kubernetes: KubernetesCluster) -> None:
    path = "/api/v1/namespaces/default/pods"
    version = kubernetes.api.request("GET", path)["metadata"]["resourceVersion"]
    kubernetes.kubectl("create", "configmap", "newer")
    kubernetes.expire_watches()
    watch = f"{path}?watch=1&timeoutSeconds=1&resourceVersion={version}"
    event = kubernetes.api.request("GET", watch)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_an_api_without_nodes_takes_pods() -> None:
    with KubernetesControlPlane() as plane:
        body = {**pod("one"), "metadata": {"name": "one"}}
        plane.api.request("POST", "/api/v1/namespaces/default/pods", body)
        assert "Pending" in plane.api.kubectl("get", "pods")
