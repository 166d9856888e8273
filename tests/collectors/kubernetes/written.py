"""Writes objects to a real API server as controllers and kubelets would."""

from __future__ import annotations

from typing import Any

from tests.world.kubernetes_api import ApiServer

TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "main", "image": "nginx:1.25"}]},
}


class Written:
    """A namespace of its own."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self.namespace = namespace
        body = {"metadata": {"name": namespace}}
        self._api.request("POST", "/api/v1/namespaces", body)

    def replica_set(self, name: str, *owners: Any) -> str:
        spec = {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": TEMPLATE,
        }
        return self._write("/apis/apps/v1", "replicasets", name, spec, owners)

    def job(self, name: str, *owners: Any) -> str:
        pod = {"containers": [{"name": "c", "image": "j"}], "restartPolicy": "Never"}
        spec = {"template": {"spec": pod}}
        return self._write("/apis/batch/v1", "jobs", name, spec, owners)

    def pod(self, name: str, address: str, *owners: Any, **spec: Any) -> str:
        whole = {"nodeName": "node-1", **TEMPLATE["spec"], **spec}
        uid = self._write("/api/v1", "pods", name, whole, owners, {"app": "web"})
        self.set_status(name, phase="Running", podIP=address, podIPs=[{"ip": address}])
        return uid

    def set_status(self, name: str, **status: Any) -> None:
        status.setdefault("startTime", "2026-01-01T00:00:00Z")
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/status"
        self._api.request("PATCH", path, {"status": status})

    def delete_pod(self, name: str) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        self._api.request("DELETE", f"{path}?gracePeriodSeconds=0")

    def service(self, name: str, **spec: Any) -> str:
        ports = [{"port": 80, "targetPort": 8080}]
        whole = {"selector": {"app": "web"}, "ports": ports, **spec}
        return self._write("/api/v1", "services", name, whole)

    def endpoint_slice(self, service: str, address: str, pod_uid: str) -> None:
        target = {"kind": "Pod", "name": "p", "uid": pod_uid}
        document = {
            "metadata": {
                "name": f"{service}-1",
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "targetRef": target}],
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        }
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"
        self._api.request("POST", path, document)

    def _write(
        self,
        group: str,
        resource: str,
        name: str,
        spec: Any,
        owners: Any = (),
        labels: Any = None,
    ) -> str:
        references = [
            {**owner, "controller": True, "blockOwnerDeletion": False}
            for owner in owners
        ]
        meta = {"name": name, "labels": labels or {}, "ownerReferences": references}
        path = f"{group}/namespaces/{self.namespace}/{resource}"
        made = self._api.request("POST", path, {"metadata": meta, "spec": spec})
        return str(made["metadata"]["uid"])


def owned_by(kind: str, name: str, uid: str, version: str = "apps/v1") -> Any:
    return {"apiVersion": version, "kind": kind, "name": name, "uid": uid}
