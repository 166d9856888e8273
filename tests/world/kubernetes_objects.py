"""Single objects in an API where nobody acts on them, as a cluster would have them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.world.hosts import Cgroup, Host
from tests.world.kubernetes_api import ApiServer, Object
from tests.world.workers import Worker


@dataclass(frozen=True)
class WrittenPod:
    """A pod that the API tells of. What runs in it is the test's."""

    uid: str
    container_id: str

    def worker(self, host: Host) -> Worker:
        """Start a process on a host, in a cgroup as kubelet would make the pod."""
        pods = f"{host.cgroup.path}/kubepods/besteffort"
        cgroup = Cgroup(f"{pods}/pod{self.uid}/{self.container_id}")
        return Worker(cgroup.directory, Path("/run/netns", host.netns))


def write_node(api: ApiServer, name: str, address: str, boot_id: str) -> None:
    """Write a node, as its kubelet would."""
    api.request("POST", "/api/v1/nodes", {"metadata": {"name": name}})
    status = {
        "addresses": [{"type": "InternalIP", "address": address}],
        "nodeInfo": {"bootID": boot_id},
    }
    api.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": status})


def write_pod(
    api: ApiServer, namespace: str, name: str, node: str, address: str
) -> WrittenPod:
    """Write a running pod with one container."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    container = {"name": "main", "image": "test:1.0"}
    specification = {"nodeName": node, "containers": [container]}
    body: Object = {"metadata": {"name": name}, "spec": specification}
    uid = str(api.request("POST", path, body)["metadata"]["uid"])
    container_id = uid.replace("-", "") * 2
    running = {
        **container,
        "imageID": "",
        "ready": True,
        "restartCount": 0,
        "containerID": f"containerd://{container_id}",
    }
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "containerStatuses": [running],
    }
    api.request("PATCH", f"{path}/{name}/status", {"status": status})
    return WrittenPod(uid, container_id)
