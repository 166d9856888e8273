"""A real Kubernetes cluster on hosts of the test.

Everything that it makes is in a host's network namespace, its cgroup and a mount
namespace, so that two clusters do not meet and nothing stays behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, TracebackType

import pytest

from tests.world.hosts import Host, Network, cgroup_root, remove_leftovers
from tests.world.kubernetes_api import (
    Object,
    make_directory,
    remove_directory,
    remove_left_directories,
)
from tests.world.kubernetes_cgroups import remove_left_cgroups
from tests.world.kubernetes_control import start_control_plane
from tests.world.kubernetes_dns import dns_manifests
from tests.world.kubernetes_host import KubernetesHost
from tests.world.kubernetes_images import write_dns_image
from tests.world.kubernetes_link import leave_host, other_end
from tests.world.kubernetes_node import Node
from tests.world.kubernetes_programs import build_programs
from tests.world.waiting import wait_until
from tests.world.workers import Worker

_LABELS = {
    "topology.kubernetes.io/region": "region-1",
    "topology.kubernetes.io/zone": "zone-a",
    "node.kubernetes.io/instance-type": "test.large",
}


class KubernetesCluster:
    """The control plane and one node. ``proxy_mode`` is iptables or nftables.

    The ``kubeconfig`` is for the test's own network namespace. A node's addresses are
    its host's; more nodes can be added.
    """

    def __init__(
        self,
        network: Network,
        name: str = "node-1",
        proxy_mode: str = "iptables",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.network = network
        self.directory = make_directory()
        self._hosts: list[KubernetesHost] = []
        self.nodes: list[Node] = []
        try:
            host = self._add_host(name)
            self.api = start_control_plane(host, self.directory)
            self.kubeconfig = self.api.kubeconfig
            self.node = self._add_node(host, proxy_mode, labels or {})
            self.wait_for(self._has_service_account)
        except BaseException:
            self.stop()
            raise

    @property
    def host(self) -> Host:
        """The host of the control plane and of the first node."""
        return self._hosts[0].host

    @property
    def outer_address(self) -> str:
        """The address of the test's own network namespace, for nodes and pods."""
        return other_end(self.api.address)

    def add_node(
        self,
        name: str,
        proxy_mode: str = "iptables",
        labels: Mapping[str, str] | None = None,
    ) -> Node:
        """Make another host of the network a node, and wait until it is ready."""
        return self._add_node(self._add_host(name), proxy_mode, labels or {})

    def remove_node(self, node: Node) -> None:
        """End a node that was added, with all that runs on it; its host stays."""
        self.nodes.remove(node)
        (host,) = (one for one in self._hosts if one.host is node.host)
        host.stop()
        self._hosts.remove(host)
        self.delete("node", node.name)
        for other in self.nodes:
            other.remove_routes(node)

    def stop(self) -> None:
        """End it and remove all that it made but the hosts."""
        for host in self._hosts:
            host.stop()
            leave_host(host.host)
        remove_directory(self.directory)

    def _add_host(self, name: str) -> KubernetesHost:
        host = KubernetesHost(self.network.host(name))
        self._hosts.append(host)
        return host

    def _add_node(
        self, host: KubernetesHost, proxy_mode: str, labels: Mapping[str, str]
    ) -> Node:
        directory = self.directory / host.host.name
        directory.mkdir()
        node = Node(host, directory, self.api, proxy_mode, {**_LABELS, **labels})
        networks: dict[str, list[str]] = {}

        def has_networks() -> bool:
            specification = self._find_node(node.name).get("spec", {})
            networks[node.name] = specification.get("podCIDRs", [])
            return bool(networks[node.name])

        self.wait_for(has_networks)
        node.set_up_pod_network(networks[node.name])
        for other in self.nodes:
            other_networks = self._find_node(other.name)["spec"]["podCIDRs"]
            node.add_route(other, other_networks)
            other.add_route(node, networks[node.name])
        self.nodes.append(node)
        self.wait_for(lambda: self._is_node_ready(node.name))
        return node

    def _find_node(self, name: str) -> Object:
        nodes: list[Object] = self.api.request("GET", "/api/v1/nodes")["items"]
        return next((node for node in nodes if node["metadata"]["name"] == name), {})

    def __enter__(self) -> KubernetesCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def kubectl(
        self, *arguments: str | Path, text: str | None = None, namespace: str = ""
    ) -> str:
        """Run kubectl as the administrator and return what it prints."""
        return self.api.kubectl(*arguments, text=text, namespace=namespace)

    def create_namespace(self, name: str) -> None:
        """Create a namespace and wait until pods may be created in it."""
        self.kubectl("create", "namespace", name)
        self.wait_for(lambda: self._has_service_account(name))

    def apply(
        self, *manifests: str | Mapping[str, object], namespace: str = ""
    ) -> None:
        """Apply manifests: YAML, or objects."""
        documents = [
            text if isinstance(text, str) else json.dumps(text) for text in manifests
        ]
        text = "\n---\n".join(documents)
        self.kubectl("apply", "-f", "-", text=text, namespace=namespace)

    def delete(self, *arguments: str, namespace: str = "") -> None:
        """Delete objects, named as to kubectl, and wait until they are gone."""
        flags = ("--wait", "--ignore-not-found")
        self.kubectl("delete", *flags, *arguments, namespace=namespace)

    def start_dns(self) -> None:
        """Start CoreDNS, unless it runs: pods resolve the names of Services."""
        if self.pods("k8s-app=kube-dns", "kube-system"):
            return
        archive = write_dns_image(self.directory)
        for node in self.nodes:
            node.import_image(archive)
        self.apply(*dns_manifests())
        self.wait_for_pods("k8s-app=kube-dns", 1, "kube-system")
        self.wait_for_service("kube-dns", "kube-system")

    def wait_for(
        self, condition: Callable[[], object], timeout_seconds: float = 60
    ) -> None:
        """Wait until ``condition()``; the error tells pods and events."""
        wait_until(condition, timeout_seconds, self.describe)

    def pods(self, selector: str = "", namespace: str = "default") -> list[Object]:
        """Return the pods with these labels that are not being deleted."""
        query = f"?labelSelector={selector}" if selector else ""
        path = f"/api/v1/namespaces/{namespace}/pods{query}"
        pods: list[Object] = self.api.request("GET", path)["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def wait_for_pods(
        self, selector: str, count: int, namespace: str = "default"
    ) -> list[Object]:
        """Wait until there are exactly so many, all ready, and return them."""
        pods: list[Object] = []

        def are_ready() -> bool:
            pods[:] = self.pods(selector, namespace)
            return len(pods) == count and all(map(is_ready, pods))

        self.wait_for(are_ready, 90)
        return pods

    def wait_for_service(
        self, name: str, namespace: str = "default", pods: int | None = None
    ) -> None:
        """Wait until kube-proxy sends calls to exactly the endpoints that are ready.

        With ``pods`` there must be so many of them.
        """

        def is_in_place() -> bool:
            endpoints = self._list_endpoints(namespace, name)
            found = {endpoint["targetRef"]["uid"] for endpoint in endpoints}
            addresses = {a for endpoint in endpoints for a in endpoint["addresses"]}
            return pods in (None, len(found)) and all(
                node.list_proxied(namespace, name) == addresses for node in self.nodes
            )

        self.wait_for(is_in_place)

    def _list_endpoints(self, namespace: str, service: str) -> list[Object]:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        query = f"?labelSelector=kubernetes.io/service-name={service}"
        return [
            endpoint
            for part in self.api.request("GET", path + query)["items"]
            for endpoint in part["endpoints"] or []
            if endpoint["conditions"]["ready"]
        ]

    def call(self, pod: str, *arguments: str, namespace: str = "default") -> Object:
        """Run ``ebpf-net-test call`` in a running pod and return what it counted."""
        command = ("exec", pod, "--", "/bin/ebpf-net-test", "call", *arguments)
        return _read_report(self.kubectl(*command, namespace=namespace))

    def logs(self, pod: str, namespace: str = "default") -> str:
        """Return what a pod printed."""
        return self.kubectl("logs", pod, namespace=namespace)

    def counted(self, pod: str, namespace: str = "default") -> Object:
        """Return the last counts that ``ebpf-net-test`` printed in a pod."""
        return _read_report(self.logs(pod, namespace))

    def pod(self, name: str, namespace: str = "default") -> Object:
        """Return a pod."""
        return self.api.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")

    def service_addresses(self, name: str, namespace: str = "default") -> list[str]:
        """Return the cluster addresses of a Service, IPv4 first."""
        path = f"/api/v1/namespaces/{namespace}/services/{name}"
        addresses: list[str] = self.api.request("GET", path)["spec"]["clusterIPs"]
        return addresses

    def worker(self, pod: str, namespace: str = "default") -> Worker:
        """Start a process in a pod's only container that calls Python functions."""
        status = self.pod(pod, namespace)["status"]
        identity = status["containerStatuses"][0]["containerID"].split("://")[1]
        found = self._find_cgroups(identity)
        cgroup = cgroup_root() / found[0].lstrip("/")
        pid = (cgroup / "cgroup.procs").read_text().split()[0]
        return Worker(cgroup, Path(f"/proc/{pid}/ns/net"))

    def pod_cgroups(self, uid: str) -> list[str]:
        """Return the cgroups of v2 of a pod's containers, its pause container's too."""
        return self._find_cgroups(f"pod{uid}/*")

    def _find_cgroups(self, pattern: str) -> list[str]:
        root = cgroup_root()
        return [
            f"/{path.relative_to(root)}"
            for node in self.nodes
            for path in (root / node.host.cgroup.path.lstrip("/")).rglob(pattern)
            if path.is_dir()
        ]

    def kill_api_server(self) -> None:
        """Kill the API server; all watches break off."""
        self.api.kill()

    def start_api_server(self) -> None:
        """Start the API server that was killed and wait until it is ready."""
        self.api.start()
        self.api.wait_ready()

    def compact_etcd(self) -> int:
        """Throw old revisions away; see ``expire_watches``."""
        return self.api.compact()

    def expire_watches(self) -> None:
        """Break all watches off, and let those that resume earlier be answered 410.

        Compaction alone does not: the API server's cache still has old revisions.
        """
        self.kill_api_server()
        self.compact_etcd()
        self.start_api_server()

    def describe(self) -> str:
        """Return pods and events, as kubectl prints them."""
        try:
            pods = self.kubectl("get", "pods", "-A", "-o", "wide")
            return pods + self.kubectl("get", "events", "-A")
        except RuntimeError as error:
            return str(error)

    def _is_node_ready(self, name: str) -> bool:
        node = self._find_node(name)
        return is_ready(node) and not node["spec"].get("taints")

    def _has_service_account(self, namespace: str = "default") -> bool:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        return bool(self.api.request("GET", path)["items"])


def is_ready(thing: Object) -> bool:
    """Tell whether a pod or a node has the condition Ready."""
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in thing.get("status", {}).get("conditions", [])
    )


def _read_report(text: str) -> Object:
    report: Object = json.loads(text.splitlines()[-1])
    return report


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build Kubernetes, if a test uses it, before tests are timed."""
    functions = [i for i in session.items if isinstance(i, pytest.Function)]
    modules = {function.module for function in functions}
    if not session.config.option.collectonly and any(map(_uses_kubernetes, modules)):
        build_programs()


def _uses_kubernetes(module: ModuleType) -> bool:
    return any(
        str(getattr(value, "__module__", "")).startswith("tests.world.kubernetes")
        for value in vars(module).values()
    )


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesCluster]:
    """The cluster that tests share, with one node called node-1.

    Its host's network is for clients outside: ``kubernetes.network.host("name")``.
    """
    remove_kubernetes_leftovers()
    network = Network(tmp_path_factory.mktemp("kubernetes"))
    try:
        with KubernetesCluster(network) as cluster:
            yield cluster
    finally:
        network.close()


def remove_kubernetes_leftovers() -> None:
    """Remove what killed test runs left: processes, cgroups, namespaces, files."""
    remove_leftovers()
    remove_left_cgroups()
    remove_left_directories()
