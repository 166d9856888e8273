"""Ends of which there is only an address: whose it is where its peer is."""

from __future__ import annotations

import numpy as np

from ebpf_net.reducer.address_names import Asked
from ebpf_net.reducer.ends import About, Circle, Found, Int32, encode, nothing_found
from ebpf_net.reducer.keys import Bool, Int64, combine, is_loopback
from ebpf_net.reducer.known import Known
from ebpf_net.reducer.kubernetes_names import Owners
from ebpf_net.reducer.lookups import NOBODY, nobody, pick
from ebpf_net.reducer.places import Place
from ebpf_net.reducer.rows import Rows

_DNS_PORT = 53
_METADATA_LOW = 0xFFFF_A9FE_A9FE  # ::ffff:169.254.169.254


def address_ends(
    rows: Rows, alone: Int64, places: tuple[Int64, ...], circle: Circle
) -> tuple[Int32, Found]:
    """Return for each row that has only its peer's address its number among them.

    ``places`` are those of the rows' own ends, as in ``Asked``.
    """
    high = rows.int64("remote_address_high")[alone]
    low = rows.int64("remote_address_low")[alone]
    port = np.where(rows.is_client[alone], rows.server_port[alone], 0)
    about = _about(high, low, port)
    local = (about == About.METADATA) | (about == About.LOCALHOST)
    source = np.where(local, rows.source[alone], 0)
    if circle.known.names_addresses or circle.detail.addresses:
        protocol = rows.int64("protocol")[alone]
        service = np.where(port != 0, port << 8 | protocol, 0)
        service[about == About.LOCALHOST] = 0
        key = combine(about, source, *places, high, low, service)
    else:
        service = np.zeros(len(alone), np.int64)
        key = combine(about, source)
    number, first = encode(key)
    asked = Asked(places, high, low, service).take(first)
    found = nothing_found(len(first), About.ADDRESS) | {"about": about[first]}
    if circle.detail.addresses:
        found |= {"high": asked.high, "low": asked.low}
    host = circle.known.host.find(source[first])
    found["host"] = np.where(local[first], host, NOBODY)
    found["node"] = pick(circle.known.members.host_node, found["host"])
    found["cluster"] = pick(circle.known.members.host_cluster, found["host"])
    found["instance"] = pick(circle.known.cloud_hosts.instance, found["host"])
    found["vpc"] = pick(circle.known.cloud_hosts.network, found["host"])
    if circle.known.names_addresses:
        _name_addresses(found, asked, circle)
    return number, found


def _about(high: Int64, low: Int64, port: Int64) -> Int64:
    about = np.full(len(high), int(About.ADDRESS))
    about[port == _DNS_PORT] = About.DNS
    about[is_loopback(high, low)] = About.LOCALHOST
    about[(high == 0) & (low == _METADATA_LOW)] = About.METADATA
    return about


def _name_addresses(found: Found, asked: Asked, circle: Circle) -> None:
    """Fill in whose the addresses are, in the places of whoever talks to them."""
    known = circle.known
    left = np.flatnonzero(found["about"] != About.LOCALHOST)
    far = asked.take(left)
    found["network"][left] = known.networks.find(far.high, far.low)
    named = np.zeros(len(left), np.bool_)
    for kind in Place:
        rest = np.flatnonzero(~named)
        named[rest] = _name_in(kind, found, far.take(rest), left[rest], circle)
    if len(known.interfaces):
        named |= _put_interfaces(found, left, far, ~named, circle)
    left, far = left[~named], far.take(np.flatnonzero(~named))
    found["system"][left] = known.systems.find(far.high, far.low)


def _name_in(
    kind: Place, found: Found, asked: Asked, index: Int64, circle: Circle
) -> Bool:
    """Fill in who of clusters is at the addresses in one kind of place.

    Returns what has a name.
    """
    known = circle.known
    named = np.zeros(len(index), np.bool_)
    if known.clusters and known.addresses.knows(kind):
        owners = known.addresses.find(asked.within(kind), circle.span)
        named |= owners.is_known
        _put_owners(found, index[named], owners.take(np.flatnonzero(named)), known)
    return named


def _put_interfaces(
    found: Found, index: Int64, asked: Asked, unnamed: Bool, circle: Circle
) -> Bool:
    """Fill in which interfaces of clouds have the addresses; return which have one.

    What a cluster has named may be in the same VPC, but is none of another one's.
    """
    known = circle.known
    interface = known.interfaces.find(asked, unnamed, circle.span)
    has: Bool = interface >= 0
    found["interface"][index[has]] = interface[has]
    network = known.clouds.network_of["interfaces"]
    found["vpc"][index[has]] = pick(network, interface[has])
    return has


def _put_owners(found: Found, index: Int64, owners: Owners, known: Known) -> None:
    """Fill in pods, Services and nodes, and the clusters that they are of."""
    found["pod"][index] = owners.pod
    found["service"][index] = owners.service
    found["at_node"][index] = owners.node
    of_pod = pick(known.members.pod_node, owners.pod)
    found["node"][index] = np.where(of_pod >= 0, of_pod, owners.node)
    cluster = nobody(len(index))
    for table, row in (
        ("pods", owners.pod), ("services", owners.service), ("nodes", owners.node),
    ):  # fmt: skip
        cluster = np.where(row >= 0, pick(known.clusters.of(table), row), cluster)
    found["cluster"][index] = cluster
