"""Where an address means something: in its cluster, if another cluster has it too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ebpf_net.reducer.keys import EdgeKeys, Int64, combine
from ebpf_net.reducer.known import Known
from ebpf_net.reducer.lookups import Lookup, only_one, pick
from ebpf_net.reducer.memory import KnownKeys, find_ends
from ebpf_net.reducer.rows import Rows

EVERYWHERE = 0
"""The scope of rows whose addresses mean the same to everybody."""
OUTSIDE = 1
"""That of rows of hosts in no cluster with addresses that mean something in several."""


def scopes_of(rows: Rows, known: Known) -> Int64:
    """Return the scope of each row: only rows of one scope may be of one connection.

    It is the key of the cluster of the row's host where either address is of more than
    one cluster. Rows of hosts in no cluster are OUTSIDE then. Addresses are meant as
    the server sees them, as in the keys of rows.
    """
    scope = np.full(len(rows), EVERYWHERE, np.int64)
    shared = known.addresses.shared
    if not len(shared):
        return scope
    ends = rows.addresses
    is_shared = shared.find(combine(ends.client_high, ends.client_low)) >= 0
    is_shared |= shared.find(combine(ends.server_high, ends.server_low)) >= 0
    chosen = np.flatnonzero(is_shared)
    host = known.host.find(rows.source[chosen])
    cluster = pick(known.members.host_cluster, host)
    of_cgroup = _clusters_of_cgroups(rows, known, chosen)
    cluster = np.where(of_cgroup >= 0, of_cgroup, cluster)
    scope[chosen] = pick(known.cluster_keys, cluster, OUTSIDE)
    return scope


def adopt_scopes(
    scope: Int64, keys: EdgeKeys, clusters: Int64, parts: Sequence[KnownKeys]
) -> Int64:
    """Let rows from outside be of the cluster in which their other end is.

    ``keys`` are without scopes; ``clusters`` has the scope of each, and ``parts`` what
    is known of rows before. Rows of which several clusters tell stay OUTSIDE.
    """
    outside = np.flatnonzero(scope == OUTSIDE)
    if not len(outside):
        return scope
    scope = scope.copy()
    inside = np.flatnonzero((scope != OUTSIDE) & (scope != EVERYWHERE))
    told = only_one(keys.far[inside], scope[inside])
    row = Lookup(keys.far[inside]).find(keys.far[outside])
    adopted = pick(np.where(told, scope[inside], OUTSIDE), row, OUTSIDE)
    unknown = np.flatnonzero(row < 0)
    left = keys.take(outside[unknown])
    count, remembered = np.zeros(len(unknown), np.int64), adopted[unknown]
    for one in np.unique(clusters):
        found, _ = find_ends(parts, left.near ^ one, left.far ^ one)
        remembered[found] = one
        count += found
    adopted[unknown] = np.where(count == 1, remembered, OUTSIDE)
    scope[outside] = adopted
    return scope


def scopes_of_sources(sources: Int64, known: Known) -> Int64:
    """Return the scope of addresses that several clusters have, as each host means it.

    One of several clusters is not told by what it translates.
    """
    cluster = pick(known.members.host_cluster, known.host.find(sources))
    return pick(known.cluster_keys, cluster, OUTSIDE)


def _clusters_of_cgroups(rows: Rows, known: Known, chosen: Int64) -> Int64:
    """Return the cluster of each row's pod, which a host of several clusters needs."""
    cgroup = known.cgroup.find(
        combine(rows.source[chosen], rows.int64("cgroup_id")[chosen])
    )
    pod = pick(known.members.cgroup_pod, cgroup)
    return pick(known.clusters.of("pods"), pod)
