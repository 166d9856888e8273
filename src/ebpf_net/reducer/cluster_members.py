"""Which cluster and node a host is, and which pod and container a cgroup is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.reducer.keys import Int64
from ebpf_net.reducer.kubernetes_tables import Clusters, InClusters
from ebpf_net.reducer.lookups import (
    NOBODY,
    Lookup,
    codes_among,
    is_blank,
    nobody,
    only_one,
    pick,
    text_codes,
)
from ebpf_net.reducer.rows import int64_column


@dataclass(frozen=True)
class Members:
    """Rows of clusters and nodes for each row of ``hosts``, and the like for others."""

    host_cluster: Int64
    host_node: Int64
    cgroup_pod: Int64
    cgroup_container: Int64
    pod_node: Int64


def members_of(references: Mapping[str, pa.Table], clusters: Clusters) -> Members:
    """Join hosts and cgroups with what is known of clusters.

    A host is the node with its boot id, else its machine id. Without such a node its
    cluster is that of the pods on it, or of the only node of its name.
    """
    hosts, cgroups = references["hosts"], references["cgroups"]
    if not clusters:
        return Members(
            nobody(hosts.num_rows),
            nobody(hosts.num_rows),
            nobody(cgroups.num_rows),
            nobody(cgroups.num_rows),
            nobody(clusters["pods"].num_rows),
        )
    pods, containers = clusters["pods"], clusters["containers"]
    pods_by_uid = clusters.rows_by("pods", "pod_uid")
    cluster, node = _nodes_of_hosts(hosts, cgroups, clusters, pods_by_uid)
    host = Lookup(int64_column(hosts, "source")).find(int64_column(cgroups, "source"))
    own = pick(cluster, host)
    pod = pods_by_uid.find(own, cgroups["pod_uid"])
    containers_by_id = clusters.rows_by("containers", "container_id")
    container = containers_by_id.find(own, cgroups["container_id"])
    owner = pods_by_uid.find_within(clusters.of("containers"), containers["pod_uid"])
    pod = np.where(pod >= 0, pod, pick(owner, container))
    nodes_by_name = clusters.rows_by("nodes", "name")
    pod_node = nodes_by_name.find_within(clusters.of("pods"), pods["node_name"])
    return Members(cluster, node, pod, container, pod_node)


def _nodes_of_hosts(
    hosts: pa.Table, cgroups: pa.Table, clusters: Clusters, pods_by_uid: InClusters
) -> tuple[Int64, Int64]:
    cluster, node = nobody(hosts.num_rows), nobody(hosts.num_rows)
    nodes, of_nodes = clusters["nodes"], clusters.of("nodes")
    for name in ("boot_id", "machine_id"):
        found, one = _by_text(_plain(hosts[name]), _plain(nodes[name]), of_nodes)
        cluster = np.where(cluster >= 0, cluster, found)
        node = np.where((node < 0) & (pick(of_nodes, one) == cluster), one, node)
    of_pods = _clusters_of_pods(hosts, cgroups, clusters, pods_by_uid)
    cluster = np.where(cluster >= 0, cluster, of_pods)
    names = clusters.rows_by("nodes", "name")
    # By name from outside any cluster only if it is the only one of that name.
    named = names.find(cluster, hosts["host_name"])
    cluster = np.where(cluster >= 0, cluster, pick(of_nodes, named))
    is_own = (node < 0) & (named >= 0) & (pick(of_nodes, named) == cluster)
    return cluster, np.where(is_own, named, node)


def _by_text(
    wanted: pa.ChunkedArray[Any], texts: pa.ChunkedArray[Any], cluster: Int64
) -> tuple[Int64, Int64]:
    """Return the cluster whose nodes alone have a text, and the only node with it."""
    codes, distinct = text_codes(texts)
    asked = codes_among(wanted, distinct)
    asked[is_blank(wanted)] = NOBODY
    row = Lookup(codes).find(asked)
    in_one = pick(only_one(codes, cluster).astype(np.int64), row, 0) == 1
    is_one = pick(only_one(codes, np.arange(len(codes))).astype(np.int64), row, 0) == 1
    return (
        np.where(in_one, pick(cluster, row), NOBODY),
        np.where(is_one, row, NOBODY),
    )


def _clusters_of_pods(
    hosts: pa.Table, cgroups: pa.Table, clusters: Clusters, pods_by_uid: InClusters
) -> Int64:
    """Return the cluster of the pods on each host, if it is one."""
    nowhere = nobody(cgroups.num_rows)
    pod = pods_by_uid.find(nowhere, cgroups["pod_uid"])
    known = np.flatnonzero(pod >= 0)
    source = int64_column(cgroups, "source")[known]
    cluster = clusters.of("pods")[pod[known]]
    one = only_one(source, cluster)
    found = Lookup(source[one]).find(int64_column(hosts, "source"))
    return pick(cluster[one], found)


def _plain(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return ids without dashes, in lower case."""
    return pc.utf8_lower(pc.replace_substring(column, "-", ""))
