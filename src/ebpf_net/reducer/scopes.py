"""Where an address means something: in its cluster, if another cluster has it too."""

from __future__ import annotations

import numpy as np

from ebpf_net.reducer.keys import Int64, combine
from ebpf_net.reducer.known import Known
from ebpf_net.reducer.lookups import pick
from ebpf_net.reducer.rows import Rows

EVERYWHERE = 0
"""The scope of rows whose addresses mean the same to everybody."""


def scopes_of(rows: Rows, known: Known) -> Int64:
    """Return the scope of each row: only rows of one scope may be of one connection.

    It is the key of the cluster of the row's host where either address is of more than
    one cluster. Rows of hosts in no cluster have a scope of their own then.
    """
    scope = np.full(len(rows), EVERYWHERE, np.int64)
    shared = known.addresses.shared
    if not len(shared):
        return scope
    is_shared = np.zeros(len(rows), np.bool_)
    for end in ("local", "remote"):
        high = rows.int64(f"{end}_address_high")
        low = rows.int64(f"{end}_address_low")
        is_shared |= shared.find(combine(high, low)) >= 0
    chosen = np.flatnonzero(is_shared)
    host = known.host.find(rows.source[chosen])
    cluster = pick(known.members.host_cluster, host)
    of_cgroup = _clusters_of_cgroups(rows, known, chosen)
    cluster = np.where(of_cgroup >= 0, of_cgroup, cluster)
    scope[chosen] = pick(known.cluster_keys, cluster, 1)
    return scope


def _clusters_of_cgroups(rows: Rows, known: Known, chosen: Int64) -> Int64:
    """Return the cluster of each row's pod, which a host of several clusters needs."""
    cgroup = known.cgroup.find(
        combine(rows.source[chosen], rows.int64("cgroup_id")[chosen])
    )
    pod = pick(known.members.cgroup_pod, cgroup)
    return pick(known.clusters.of("pods"), pod)
