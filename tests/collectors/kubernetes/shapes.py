"""Objects in the shape in which the API server sends them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ebpf_net.collectors.kubernetes.objects import (
    EndpointSlice,
    Metadata,
    Node,
    PartialObject,
    Pod,
    Service,
)

STARTED = "2026-01-01T00:00:00Z"
STARTED_NS = 1_767_225_600_000_000_000
SECOND_NS = 1_000_000_000


def owner(kind: str, name: str, uid: str, api_version: str = "apps/v1") -> Any:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(name: str, uid: str, **more: Any) -> Any:
    return {
        "name": name,
        "namespace": "default",
        "uid": uid,
        "resourceVersion": "1",
        "creationTimestamp": STARTED,
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        **more,
    }


def pod_document(
    name: str = "web-1-a",
    uid: str = "pod-1",
    *,
    address: str = "10.1.0.1",
    phase: str = "Running",
    meta: Any = None,
    spec: Any = None,
    status: Any = None,
) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, uid, **(meta or {})),
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "main", "image": "nginx:1.25", "env": []}],
            "tolerations": None,
            **(spec or {}),
        },
        "status": {
            "phase": phase,
            "startTime": STARTED,
            "podIP": address,
            "podIPs": [{"ip": address}] if address else None,
            "containerStatuses": [
                {
                    "name": "main",
                    "containerID": "containerd://" + "a" * 64,
                    "state": {"running": {"startedAt": STARTED}},
                }
            ],
            **(status or {}),
        },
    }


def make_pod(*arguments: Any, **more: Any) -> Pod:
    return msgspec.json.decode(json.dumps(pod_document(*arguments, **more)), type=Pod)


def make_service(
    name: str = "web",
    uid: str = "svc-1",
    *,
    meta: Any = None,
    status: Any = None,
    **spec: Any,
) -> Service:
    document = {
        "metadata": metadata(name, uid, **(meta or {})),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.10",
            "clusterIPs": ["10.96.0.10"],
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}],
            **spec,
        },
        "status": {"loadBalancer": {}, **(status or {})},
    }
    return msgspec.json.decode(json.dumps(document), type=Service)


def make_slice(
    service: str = "web",
    uid: str = "slice-1",
    *,
    pods: Any = (("10.1.0.1", "pod-1"),),
    ports: Any = ({"name": "http", "port": 8080, "protocol": "TCP"},),
    address_type: str = "IPv4",
) -> EndpointSlice:
    document = {
        "metadata": metadata(
            f"{service}-x", uid, labels={"kubernetes.io/service-name": service}
        ),
        "addressType": address_type,
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "uid": pod} if pod else None,
            }
            for address, pod in pods
        ],
        "ports": ports,
    }
    return msgspec.json.decode(json.dumps(document), type=EndpointSlice)


def make_node(name: str = "node-1", uid: str = "node-uid", **status: Any) -> Node:
    document = {
        "metadata": metadata(
            name,
            uid,
            labels={
                "topology.kubernetes.io/zone": "eu-1a",
                "topology.kubernetes.io/region": "eu-1",
                "node.kubernetes.io/instance-type": "m5.large",
            },
        ),
        "spec": {"providerID": "aws:///eu-1a/i-1"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "192.0.2.1"},
                {"type": "Hostname", "address": "node-1"},
            ],
            "nodeInfo": {
                "machineID": "0a1b-2c",
                "bootID": "1f9e-55",
            },
            **status,
        },
    }
    return msgspec.json.decode(json.dumps(document), type=Node)


def make_partial(name: str, uid: str, **more: Any) -> PartialObject:
    return msgspec.json.decode(
        json.dumps({"metadata": metadata(name, uid, **more)}), type=PartialObject
    )


def make_metadata(name: str, uid: str, **more: Any) -> Metadata:
    return make_partial(name, uid, **more).metadata


def rows_of(tables: Any, name: str) -> list[dict[str, Any]]:
    """Return the rows of one of the tables that go into a batch."""
    table = tables.get(name)
    if table is None:
        return []
    columns = {
        key: values if isinstance(values, list) else values.tolist()
        for key, values in table.items()
    }
    return [
        dict(zip(columns, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]
