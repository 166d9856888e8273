"""CoreDNS as a cluster has it: a Deployment with its rights and a Service."""

from __future__ import annotations

from tests.world.kubernetes_images import DNS_IMAGE
from tests.world.kubernetes_manifests import Manifest

DNS_ADDRESS = "10.96.0.10"
_DNS_ADDRESS6 = "fd96::a"
_NAMESPACE = "kube-system"
_READY_PORT = 8181

_COREFILE = """\
.:53 {
    errors
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        endpoint_pod_names
        ttl 0
    }
}
"""


def dns_manifests() -> list[Manifest]:
    """Return all that it is made of. Names outside the cluster are not known."""
    labels = {"k8s-app": "kube-dns"}
    container = {
        "name": "coredns",
        "image": DNS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": _READY_PORT},
            "periodSeconds": 1,
        },
    }
    specification = {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
    deployment = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": specification},
    }
    ports = [
        {"name": f"dns-{protocol.lower()}", "port": 53, "protocol": protocol}
        for protocol in ("UDP", "TCP")
    ]
    service = {
        "selector": labels,
        "clusterIP": DNS_ADDRESS,
        "clusterIPs": [DNS_ADDRESS, _DNS_ADDRESS6],
        "ipFamilyPolicy": "RequireDualStack",
        "ports": ports,
    }
    return [
        *_rights(),
        _make("v1", "ConfigMap", "coredns", data={"Corefile": _COREFILE}),
        _make("apps/v1", "Deployment", "coredns", spec=deployment),
        _make("v1", "Service", "kube-dns", spec=service),
    ]


def _rights() -> list[Manifest]:
    group = "rbac.authorization.k8s.io"
    watched = {
        "": ["endpoints", "services", "pods", "namespaces"],
        "discovery.k8s.io": ["endpointslices"],
    }
    rules = [
        {"apiGroups": [api], "resources": resources, "verbs": ["list", "watch"]}
        for api, resources in watched.items()
    ]
    account = {"kind": "ServiceAccount", "name": "coredns", "namespace": _NAMESPACE}
    role = {"apiGroup": group, "kind": "ClusterRole", "name": "coredns"}
    return [
        _make("v1", "ServiceAccount", "coredns"),
        _make(f"{group}/v1", "ClusterRole", "coredns", rules=rules),
        _make(
            f"{group}/v1",
            "ClusterRoleBinding",
            "coredns",
            roleRef=role,
            subjects=[account],
        ),
    ]


def _make(version: str, kind: str, name: str, **content: object) -> Manifest:
    metadata = {"name": name, "namespace": _NAMESPACE}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}
