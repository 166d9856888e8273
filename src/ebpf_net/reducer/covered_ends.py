"""Ends whose own collector reports them: by process, cgroup, pod and host."""

from __future__ import annotations

import numpy as np

from ebpf_net.reducer.address_names import see
from ebpf_net.reducer.ends import About, Circle, Found, Int32, encode, nothing_found
from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.lookups import nobody, pick
from ebpf_net.reducer.matching import Matched
from ebpf_net.reducer.places import Place, host_address_key, place_key
from ebpf_net.reducer.rows import Rows


def covered_ends(rows: Rows, matched: Matched, circle: Circle) -> tuple[Int32, Found]:
    """Return for each of ``matched.ends`` its number, and the ends by number."""
    ends, key, known = matched.ends, matched.end_keys, circle.known
    unknown: Bool = (ends.process == 0) & (ends.cgroup == 0)
    by_address = bool(known.clusters) and bool(unknown.any())
    high, low = np.zeros((2, len(ends)), np.int64)
    vpc = None
    if circle.detail.addresses or by_address or known.clouds:
        high, low = _own_addresses(rows, matched)
    if known.clouds:
        low = known.public.private(ends.source, high, low)
        host = known.host.find(ends.source)
        places = known.places[Place.NETWORK]
        vpc = places.of(host, nobody(len(ends)), high, low)
        key = combine(key, vpc)
    if circle.detail.addresses or by_address:
        if not circle.detail.addresses:
            high, low = np.where(unknown, high, 0), np.where(unknown, low, 0)
        key = combine(key, high, low)
    number, first = encode(key)
    chosen = ends.take(first)
    found = nothing_found(len(first), About.COVERED)
    found |= {"high": high[first], "low": low[first]}
    found["host"] = known.host.find(chosen.source)
    process = known.process.find(combine(chosen.source, chosen.process))
    of_process = pick(known.cgroup_of_process, process, 0)
    cgroup = np.where(chosen.cgroup != 0, chosen.cgroup, of_process)
    found["process"] = process
    found["cgroup"] = known.cgroup.find(combine(chosen.source, cgroup))
    if known.clusters:
        _find_pods(found, unknown[first], circle)
    if vpc is not None:
        _find_instances(found, vpc[first], circle)
    return number, found


def _own_addresses(rows: Rows, matched: Matched) -> tuple[Int64, Int64]:
    """Return the address of each of ``matched.ends``."""
    high, low = np.zeros((2, len(matched.ends)), np.int64)
    paired = np.flatnonzero(matched.peer >= 0)
    for side, values in (("high", high), ("low", low)):
        # A remembered end has no row: its address is what its peer's row says.
        remote = rows.int64(f"remote_address_{side}")
        values[matched.peer[paired]] = remote[paired]
        values[matched.own] = rows.int64(f"local_address_{side}")
    return high, low


def _find_instances(found: Found, vpc: Int64, circle: Circle) -> None:
    """Fill in instances, VPCs and, where addresses are told apart, interfaces."""
    known, hosts = circle.known, circle.known.cloud_hosts
    found |= {"vpc": vpc, "instance": pick(hosts.instance, found["host"])}
    if circle.detail.addresses:
        address = found["high"], found["low"]
        found["interface"] = known.interfaces.find_own(vpc, *address, circle.span)
        own = host_address_key(found["host"], *address)
        found["own_address"] = hosts.own_address.find(own)


def _find_pods(found: Found, unknown: Bool, circle: Circle) -> None:
    """Fill in pods, clusters and nodes; a pod of an unknown process by its address."""
    known, members = circle.known, circle.known.members
    of_host = pick(members.host_cluster, found["host"])
    pod = pick(members.cgroup_pod, found["cgroup"])
    rest = np.flatnonzero(unknown & (pod < 0))
    if len(rest):
        place = place_key(Place.CLUSTER, of_host[rest])
        zero = np.zeros(len(rest), np.int64)  # whatever the port
        seen = see(place, found["high"][rest], found["low"][rest], zero)
        pod[rest] = known.addresses.find(seen, circle.span).pod
    cluster = pick(known.clusters.of("pods"), pod)
    node = pick(members.pod_node, pod)
    found |= {
        "pod": pod,
        "container": pick(members.cgroup_container, found["cgroup"]),
        "node": np.where(node >= 0, node, pick(members.host_node, found["host"])),
        "cluster": np.where(cluster >= 0, cluster, of_host),
    }
