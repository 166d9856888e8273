"""The cluster's collector in the cluster, as the manifest in ``deploy`` has it.

Its image is this machine: the interpreter, what it needs and our code, to be read only.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

import ebpf_net
from tests.world.kubernetes import KubernetesCluster, is_ready
from tests.world.kubernetes_api import Object
from tests.world.kubernetes_images import IMAGE

NAMESPACE = "ebpf-net"
NAME = "k8s-collector"
INTAKE_NAME = f"reducer.{NAMESPACE}.svc"
_INTAKE_PORT = 8000
_SELECTOR = f"app.kubernetes.io/name={NAME}"
_LEASE = "ebpf-net-k8s-collector"
_MANIFEST = Path(__file__).parents[2] / "deploy/kubernetes/k8s-collector.yaml"


def read_manifest() -> list[Object]:
    """Return its documents."""
    return list(yaml.safe_load_all(_MANIFEST.read_text()))


def deploy_collector(
    cluster: KubernetesCluster, token: Path, authority: Path, intake: tuple[str, int]
) -> None:
    """Do as the manifest says, where the reducer's name leads to ``intake``."""
    cluster.start_dns()
    cluster.create_namespace(NAMESPACE)
    files = (f"--from-file=token={token}", f"--from-file=ca.pem={authority}")
    secret = ("create", "secret", "generic", "ebpf-net-intake", *files)
    cluster.kubectl(*secret, namespace=NAMESPACE)
    cluster.apply(*_name_reducer(*intake))
    cluster.apply(*map(_on_this_machine, read_manifest()))
    _wait_for_pods(cluster, 2)


def list_replicas(cluster: KubernetesCluster) -> list[str]:
    """Return the names of its pods."""
    return [pod["metadata"]["name"] for pod in cluster.pods(_SELECTOR, NAMESPACE)]


def find_leader(cluster: KubernetesCluster) -> str:
    """Return the name of the pod that holds the Lease, once there is a Lease."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
    leases = cluster.api.request("GET", path)["items"]
    holders = [lease["spec"]["holderIdentity"].partition("_")[0] for lease in leases]
    assert [lease["metadata"]["name"] for lease in leases] in ([], [_LEASE])
    return "".join(holders)


def restart_collector(cluster: KubernetesCluster) -> None:
    """End both pods, and wait until there are others."""
    cluster.delete("pods", f"--selector={_SELECTOR}", namespace=NAMESPACE)
    _wait_for_pods(cluster, 2)


def take_right_away(cluster: KubernetesCluster, resource: str, verb: str) -> None:
    """Apply the manifest's ClusterRole without one right."""
    (role,) = (one for one in read_manifest() if one["kind"] == "ClusterRole")
    for rule in role["rules"]:
        if resource in rule["resources"]:
            rest = {**rule, "resources": [resource], "verbs": [*rule["verbs"]]}
            rest["verbs"].remove(verb)
            rule["resources"].remove(resource)
            role["rules"].append(rest)
            break
    cluster.apply(role)


def remove_collector(cluster: KubernetesCluster, *others: str) -> None:
    """Remove all that the manifest made, and other namespaces with it."""
    # While there are pods, a namespace waits for half of their grace period.
    cluster.delete(f"deployment/{NAME}", namespace=NAMESPACE)
    _wait_for_pods(cluster, 0)
    cluster.delete("clusterrole,clusterrolebinding", "ebpf-net-k8s-collector")
    cluster.delete("namespace", NAMESPACE, *others)


def _wait_for_pods(cluster: KubernetesCluster, count: int) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={_SELECTOR}"

    def are_all_there() -> bool:
        pods = cluster.api.request("GET", path)["items"]  # with those that are ending
        return len(pods) == count and all(map(is_ready, pods))

    cluster.wait_for(are_all_there, 90)


def _name_reducer(address: str, port: int) -> tuple[Mapping[str, object], ...]:
    name = INTAKE_NAME.partition(".")[0]
    metadata = {"name": name, "namespace": NAMESPACE}
    labels = {"kubernetes.io/service-name": name}
    return (
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"port": _INTAKE_PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}],
            "ports": [{"name": "", "port": port}],
        },
    )


def _on_this_machine(document: Object) -> Object:
    """Give a Deployment an image that there is, and windows of one second."""
    if document["kind"] != "Deployment":
        return document
    pod = document["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container |= {"image": IMAGE, "imagePullPolicy": "Never"}
    container["env"] += [
        {"name": "PATH", "value": str(Path(sys.prefix, "bin"))},
        {"name": "EBPF_NET_INTERVAL_SECONDS", "value": "1"},
    ]
    for number, directory in enumerate(_list_directories()):
        name = f"machine-{number}"
        host = {"name": name, "hostPath": {"path": str(directory.resolve())}}
        mount = {"name": name, "mountPath": str(directory), "readOnly": True}
        pod["volumes"].append(host)
        container["volumeMounts"].append(mount)
    return document


def _list_directories() -> list[Path]:
    """Return where the interpreter, its libraries and our code are."""
    code = Path(ebpf_net.__file__).parents[1]
    wanted = (sys.prefix, sys.base_prefix, code, "/lib", "/lib64", "/usr/lib")
    paths = [Path(path) for path in dict.fromkeys(wanted)]
    return [
        path
        for path in paths
        if path.exists() and not any(other in path.parents for other in paths)
    ]
