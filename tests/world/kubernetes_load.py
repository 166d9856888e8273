"""Many objects in the API, as a large cluster has them; nothing runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from tests.world.kubernetes_api import ApiServer, Object

_T = TypeVar("_T")

_THREADS = 8
_PODS_OF_A_SET = 10
_PODS_OF_A_NODE = 100


@dataclass(frozen=True)
class LoadedPod:
    """A pod that was created, with the address in its status."""

    name: str
    uid: str
    address: str


class KubernetesLoad:
    """Nodes, Deployments, ReplicaSets, pods and Services in a namespace.

    Ten pods belong to each ReplicaSet, a hundred to each Node.
    """

    def __init__(self, api: ApiServer, namespace: str = "default") -> None:
        self._api = api
        self._namespace = namespace
        self._owners: dict[int, Object] = {}
        self._numbers = itertools.count()
        self.pods: list[LoadedPod] = []

    def add_pods(self, count: int) -> None:
        """Create running pods, with their owners and nodes where they are new."""
        numbers = [next(self._numbers) for _ in range(count)]
        nodes = sorted({number // _PODS_OF_A_NODE for number in numbers})
        owners = sorted({number // _PODS_OF_A_SET for number in numbers})
        _for_each(self._add_node, nodes)
        _for_each(self._add_owner, owners)
        self.pods += _for_each(self._add_pod, numbers)

    def add_services(self, count: int) -> None:
        """Create Services, each for the pods of one Deployment."""
        path = f"/api/v1/namespaces/{self._namespace}/services"

        def add(number: int) -> None:
            name = f"service-{number}"
            ports = [{"port": 80, "targetPort": 5000}]
            specification = {"selector": {"app": f"app-{number}"}, "ports": ports}
            body = {"metadata": {"name": name}, "spec": specification}
            self._api.request("POST", path, body)

        _for_each(add, range(count))

    def relabel(self, pod: LoadedPod, key: str, value: str) -> None:
        """Change one label of a pod."""
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod.name}"
        self._api.request("PATCH", path, {"metadata": {"labels": {key: value}}})

    def remove(self, pod: LoadedPod) -> None:
        """Delete a pod at once."""
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod.name}"
        self._api.request("DELETE", f"{path}?gracePeriodSeconds=0")
        self.pods.remove(pod)

    def _add_node(self, number: int) -> None:
        name = f"node-{number}"
        zone = f"zone-{number % 3}"
        labels = {"topology.kubernetes.io/zone": zone}
        self._create("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
        address = {"type": "InternalIP", "address": f"10.0.{number // 250}.{number}"}
        self._api.request(
            "PATCH",
            f"/api/v1/nodes/{name}/status",
            {"status": {"addresses": [address]}},
        )

    def _add_owner(self, number: int) -> None:
        if number in self._owners:
            return
        path = f"/apis/apps/v1/namespaces/{self._namespace}"
        name = f"app-{number}"
        labels = {"app": name}
        container = {"name": "main", "image": "test:1.0"}
        specification = {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container]},
            },
        }
        metadata: Object = {"name": name}
        for kind in ("Deployment", "ReplicaSet"):
            body = {"metadata": metadata, "spec": specification}
            made = self._api.request("POST", f"{path}/{kind.lower()}s", body)
            owner = _refer(kind, made)
            metadata = {"name": f"{name}-1", "ownerReferences": [owner]}
        self._owners[number] = owner

    def _add_pod(self, number: int) -> LoadedPod:
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        owner = number // _PODS_OF_A_SET
        name = f"app-{owner}-1-{number}"
        address = (
            f"10.{128 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
        )
        metadata = {
            "name": name,
            "labels": {"app": f"app-{owner}"},
            "ownerReferences": [self._owners[owner]],
        }
        specification = {
            "nodeName": f"node-{number // _PODS_OF_A_NODE}",
            "containers": [{"name": "main", "image": "test:1.0"}],
        }
        made = self._api.request(
            "POST", path, {"metadata": metadata, "spec": specification}
        )
        uid = made["metadata"]["uid"]
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "containerStatuses": [
                {
                    "name": "main",
                    "image": "test:1.0",
                    "imageID": "",
                    "ready": True,
                    "restartCount": 0,
                    "containerID": f"containerd://{number:064x}",
                }
            ],
        }
        self._api.request("PATCH", f"{path}/{name}/status", {"status": status})
        return LoadedPod(name, uid, address)

    def _create(self, path: str, body: Object) -> None:
        try:
            self._api.request("POST", path, body)
        except RuntimeError as error:
            if "AlreadyExists" not in str(error):
                raise


def _refer(kind: str, owner: Object) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }


def _for_each(call: Callable[[int], _T], numbers: Iterable[int]) -> list[_T]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(call, numbers))
