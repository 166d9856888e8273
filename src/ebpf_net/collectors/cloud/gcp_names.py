"""What things are called in Google Cloud, by their paths, labels and descriptions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_NETWORK = re.compile(r"projects/([^/]+)/global/networks/([^/]+)$")
_ROUTER = re.compile(r"/regions/([^/]+)/routers/([^/]+)$")
_CLUSTER_LABEL, _POOL_LABEL = "goog-k8s-cluster-name", "goog-k8s-node-pool-name"
_ROLE_LABELS = (
    "goog-dataproc-cluster-name",
    "goog-dataflow-job-name",
    "goog-composer-environment",
)
_KUBERNETES_KEYS = (
    "kubernetes.io/service-name",
    "networking.gke.io/service-name",
    "kubernetes.io/ingress-name",
    "networking.gke.io/gateway-name",
)
_NUMBERED = re.compile(r"-#+(\[\d+\])?$")
_RANDOM_END, _NUMBER_END = re.compile(r"[a-z0-9]{4}"), re.compile(r"[0-9]+")


def last_of(path: str | None) -> str:
    """Return the last part of a path; nothing of none."""
    return (path or "").rpartition("/")[2]


def network_of(path: str | None) -> str:
    """Return ``project/name`` of a network, which may be another project's."""
    match = _NETWORK.search(path or "")
    return f"{match[1]}/{match[2]}" if match else ""


def router_of(path: str) -> tuple[str, str] | None:
    """Return region and name if it is a router's path."""
    match = _ROUTER.search(path)
    return (match[1], match[2]) if match else None


def region_of(zone: str) -> str:
    """Return the region of a zone."""
    return zone.rpartition("-")[0]


def role_of_labels(labels: Mapping[str, str]) -> str:
    """Return the node pool with its cluster, or what a service has made; or nothing."""
    pool = labels.get(_POOL_LABEL)
    if pool:
        cluster = labels.get(_CLUSTER_LABEL)
        return f"{cluster}/{pool}" if cluster else pool
    return next((labels[name] for name in _ROLE_LABELS if labels.get(name)), "")


def role_of_description(description: str) -> str:
    """Return the Service or Ingress that GKE made a forwarding rule for; or nothing."""
    if not description.startswith("{"):
        return ""
    try:
        facts = json.loads(description)
    except ValueError:
        return ""
    names = (facts.get(key) for key in _KUBERNETES_KEYS)
    return next((name for name in names if name and isinstance(name, str)), "")


class InstanceGroups:
    """Managed instance groups, found by the names that they give their instances.

    An instance says in its metadata who made it, but nobody gets that without all the
    rest of it: scripts and keys, which are large and secret.
    """

    def __init__(self) -> None:
        self._names: dict[tuple[str, str, bool], str] = {}

    def add(self, scope: str, group: Mapping[str, Any]) -> None:
        """Add a group of a zone or region."""
        name = str(group["name"])
        base = str(group.get("baseInstanceName") or name)
        stem, numbered = _NUMBERED.subn("", base)
        self._names[scope, stem, bool(numbered)] = name

    def updated(self, newer: InstanceGroups) -> InstanceGroups:
        """Return these groups, and those of which more is known by now."""
        groups = InstanceGroups()
        groups._names = self._names | newer._names
        return groups

    def group_of(self, zone: str, instance: str) -> str:
        """Return the group that an instance is of; or nothing."""
        stem, _, end = instance.rpartition("-")
        for scope in (zone, region_of(zone)):
            for numbered, pattern in ((False, _RANDOM_END), (True, _NUMBER_END)):
                name = self._names.get((scope, stem, numbered))
                if name and pattern.fullmatch(end):
                    return name
        return ""
