"""What interfaces and public addresses in Azure belong to, by types and tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ebpf_net.collectors.cloud.azure_ids import (
    group_of,
    last_name,
    names_within,
    type_of,
)
from ebpf_net.collectors.cloud.records import Kind

_CLUSTER_TAGS = ("aks-managed-cluster-name", "karpenter.azure.com_cluster")
_POOL_TAGS = ("aks-managed-poolname", "karpenter.sh_nodepool")
_NODE_GROUP = re.compile(r"mc_.+_([^_]+)_[^_]+")
"""Node resource groups have such names unless somebody chose another one."""
_TARGETS: Mapping[str, Kind] = {
    "microsoft.sql": Kind.DATABASE,
    "microsoft.dbforpostgresql": Kind.DATABASE,
    "microsoft.dbformysql": Kind.DATABASE,
    "microsoft.dbformariadb": Kind.DATABASE,
    "microsoft.documentdb": Kind.DATABASE,
    "microsoft.synapse": Kind.DATABASE,
    "microsoft.kusto": Kind.DATABASE,
    "microsoft.cache": Kind.CACHE,
    "microsoft.containerservice": Kind.KUBERNETES,
}
_STORAGE, _FILES = "microsoft.storage", "file"
_GATEWAYS: Mapping[str, Kind] = {
    "virtualnetworkgateways": Kind.GATEWAY,
    "azurefirewalls": Kind.GATEWAY,
    "bastionhosts": Kind.GATEWAY,
}
_NAMED_ELSEWHERE = frozenset(
    {
        "networkinterfaces",
        "virtualmachinescalesets",
        "loadbalancers",
        "applicationgateways",
    }
)
"""Types that have their public addresses with them when they are listed."""


class Target(NamedTuple):
    """What a private endpoint leads to."""

    kind: Kind
    name: str


def read_target(endpoint: Mapping[str, Any]) -> Target:
    """Return what an item of ``privateEndpoints`` leads to."""
    properties = endpoint.get("properties") or {}
    for key in ("privateLinkServiceConnections", "manualPrivateLinkServiceConnections"):
        for connection in properties.get(key) or ():
            found = connection.get("properties") or {}
            service = found.get("privateLinkServiceId") or ""
            if service:
                groups = found.get("groupIds") or ()
                return Target(_kind_of(service, groups), last_name(service))
    return Target(Kind.VPC_ENDPOINT, "")


def _kind_of(service_id: str, groups: tuple[str, ...]) -> Kind:
    namespace = type_of(service_id).partition("/")[0]
    if namespace == _STORAGE and _FILES in groups:
        return Kind.FILE_SYSTEM
    return _TARGETS.get(namespace, Kind.VPC_ENDPOINT)


class Owner(NamedTuple):
    """What a public address belongs to."""

    kind: Kind
    name: str


def owner_of_public(properties: Mapping[str, Any]) -> Owner | None:
    """Return whose public address it is; None: nobody's, or it is named elsewhere."""
    configuration = (properties.get("ipConfiguration") or {}).get("id")
    if not configuration or properties.get("natGateway"):
        return None
    names = names_within(configuration)
    if not _NAMED_ELSEWHERE.isdisjoint(names):
        return None
    kind = type_of(configuration).rpartition("/")[2]
    return Owner(_GATEWAYS.get(kind, Kind.OTHER), names.get(kind, ""))


def cluster_of(resource_id: str, tags: Mapping[str, str]) -> str:
    """Return the AKS cluster of a resource; or nothing."""
    cluster = _first(tags, _CLUSTER_TAGS)
    if cluster:
        return cluster
    match = _NODE_GROUP.fullmatch(group_of(resource_id).lower())
    return match.group(1) if match else ""


def role_of(resource_id: str, tags: Mapping[str, str], otherwise: str) -> str:
    """Return the node pool with its cluster, or else the other name."""
    cluster = cluster_of(resource_id, tags)
    name = _first(tags, _POOL_TAGS) or otherwise
    return f"{cluster}/{name}" if cluster and name else cluster or name


def _first(tags: Mapping[str, str], names: tuple[str, ...]) -> str:
    """Return the first tag that is there; case does not matter in names of tags."""
    lower = {name.lower(): value for name, value in tags.items()} if tags else {}
    return next((lower[name] for name in names if lower.get(name)), "")
