"""All tables by name, and what the reference tables among them are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ebpf_net.schema.edges import EDGE_SAMPLES, EDGES, Columns
from ebpf_net.schema.references import (
    CGROUPS,
    CLOUD_ACCOUNTS,
    CLOUD_ADDRESSES,
    CLOUD_INSTANCE_ADDRESSES,
    CLOUD_INSTANCES,
    CLOUD_INTERFACES,
    HOSTS,
    KUBERNETES_ADDRESSES,
    KUBERNETES_CLUSTERS,
    KUBERNETES_CONTAINERS,
    KUBERNETES_ENDPOINTS,
    KUBERNETES_NAMESPACES,
    KUBERNETES_NODES,
    KUBERNETES_PODS,
    KUBERNETES_SERVICES,
    PROCESSES,
    TRANSLATIONS,
)


class Scope(Enum):
    """What a reference table describes; the value is the table that names it.

    A collector names one host, one cluster or some accounts, and all its other rows are
    about those.
    """

    HOST = "hosts"
    CLUSTER = "kubernetes_clusters"
    CLOUD = "cloud_accounts"


@dataclass(frozen=True)
class Reference:
    """A reference table.

    ``telling`` is a column that is blank in a row that only says what has gone. With
    it, something that began and ended at once is known for a while, too.
    """

    columns: Columns
    key: str
    scope: Scope
    telling: str = ""

    @property
    def is_timed(self) -> bool:
        """Whether rows say from when until when they hold."""
        return {"from_ns", "until_ns"} <= dict(self.columns).keys()


REFERENCES: Mapping[str, Reference] = {
    "hosts": Reference(HOSTS, "host_id", Scope.HOST),
    "processes": Reference(PROCESSES, "process_id", Scope.HOST),
    "cgroups": Reference(CGROUPS, "cgroup_id", Scope.HOST),
    "translations": Reference(TRANSLATIONS, "translation_id", Scope.HOST),
    "kubernetes_clusters": Reference(KUBERNETES_CLUSTERS, "cluster_uid", Scope.CLUSTER),
    "kubernetes_nodes": Reference(KUBERNETES_NODES, "node_uid", Scope.CLUSTER, "name"),
    "kubernetes_namespaces": Reference(
        KUBERNETES_NAMESPACES, "namespace_uid", Scope.CLUSTER
    ),
    "kubernetes_pods": Reference(KUBERNETES_PODS, "pod_uid", Scope.CLUSTER, "name"),
    "kubernetes_containers": Reference(
        KUBERNETES_CONTAINERS, "container_key", Scope.CLUSTER, "pod_uid"
    ),
    "kubernetes_services": Reference(
        KUBERNETES_SERVICES, "service_uid", Scope.CLUSTER, "name"
    ),
    "kubernetes_addresses": Reference(
        KUBERNETES_ADDRESSES, "address_key", Scope.CLUSTER, "owner_uid"
    ),
    "kubernetes_endpoints": Reference(
        KUBERNETES_ENDPOINTS, "endpoint_key", Scope.CLUSTER
    ),
    "cloud_accounts": Reference(CLOUD_ACCOUNTS, "account_key", Scope.CLOUD),
    "cloud_interfaces": Reference(
        CLOUD_INTERFACES, "interface_uid", Scope.CLOUD, "provider"
    ),
    "cloud_addresses": Reference(
        CLOUD_ADDRESSES, "address_key", Scope.CLOUD, "interface_uid"
    ),
    "cloud_instances": Reference(CLOUD_INSTANCES, "instance_key", Scope.HOST),
    "cloud_instance_addresses": Reference(
        CLOUD_INSTANCE_ADDRESSES, "address_key", Scope.HOST
    ),
}
"""A row replaces the row of the same collector, incarnation and key; one with
``removed`` ends it. In a table with ``from_ns`` and ``until_ns`` a ``removed`` row has
``until_ns``, and the rows before it end then."""

TABLES: Mapping[str, Columns] = {
    "edges": EDGES,
    "edge_samples": EDGE_SAMPLES,
    **{name: one.columns for name, one in REFERENCES.items()},
}
REFERENCE_KEYS: Mapping[str, str] = {name: one.key for name, one in REFERENCES.items()}
"""Reference tables and their key column."""


def tables_of(scope: Scope) -> tuple[str, ...]:
    """Return the names of the reference tables of a scope, with the one that names."""
    return tuple(name for name, one in REFERENCES.items() if one.scope is scope)


def timed_tables() -> tuple[str, ...]:
    """Return the names of the reference tables whose rows begin and end."""
    return tuple(name for name, one in REFERENCES.items() if one.is_timed)
