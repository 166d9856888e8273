"""The control plane of a cluster: the API, its controllers and the scheduler."""

from __future__ import annotations

from pathlib import Path

from tests.world.kubernetes_api import SERVICE_NETWORKS, ApiServer
from tests.world.kubernetes_host import KubernetesHost
from tests.world.kubernetes_link import join_host
from tests.world.kubernetes_node import CLUSTER_NETWORKS
from tests.world.kubernetes_programs import kubernetes_program

_API_PORT = 6443
_ETCD_PORTS = (2379, 2380)


def start_control_plane(host: KubernetesHost, directory: Path) -> ApiServer:
    """Start it on a host, and wait until the API is ready."""
    own = host.host.address
    api = ApiServer(
        directory,
        join_host(host.host),
        (_API_PORT, *_ETCD_PORTS),
        host.start,
        ("--bind-address", "0.0.0.0", "--advertise-address", own),
        own,
    )
    _start_controllers(host, api)
    _start_scheduler(host, api)
    api.wait_ready()
    return api


def _start_controllers(host: KubernetesHost, api: ApiServer) -> None:
    user = "system:kube-controller-manager"
    authority = api.authority
    arguments: list[str | Path] = [
        *("--kubeconfig", api.write_inner_kubeconfig("controllers", user)),
        *("--allocate-node-cidrs", "--cluster-cidr", ",".join(CLUSTER_NETWORKS)),
        *("--service-cluster-ip-range", SERVICE_NETWORKS),
        *("--service-account-private-key-file", authority.service_account_key),
        *("--root-ca-file", authority.certificate),
        *("--flex-volume-plugin-dir", api.directory / "volume-plugins"),
        "--use-service-account-credentials",
    ]
    _start(host, api, "kube-controller-manager", arguments)


def _start_scheduler(host: KubernetesHost, api: ApiServer) -> None:
    kubeconfig = api.write_inner_kubeconfig("scheduler", "system:kube-scheduler")
    _start(host, api, "kube-scheduler", ["--kubeconfig", kubeconfig])


def _start(
    host: KubernetesHost, api: ApiServer, name: str, arguments: list[str | Path]
) -> None:
    alone = ("--leader-elect=false", "--authentication-skip-lookup")
    command = [kubernetes_program(name), *alone, "--bind-address", "127.0.0.1"]
    host.start([*command, *arguments], api.directory / f"{name}.log")
