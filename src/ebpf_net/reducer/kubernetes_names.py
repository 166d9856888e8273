"""Who is at an address of a cluster: pods, Services and nodes, by time.

An address means something in one cluster only, the one of whoever talks to it. Public
addresses mean the same everywhere, as long as only one cluster has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.address_names import AddressNames, Asked, Held, Seen, see, ties
from ebpf_net.reducer.claims import Span
from ebpf_net.reducer.keys import Bool, Int64, combine, is_loopback
from ebpf_net.reducer.kubernetes_tables import Clusters
from ebpf_net.reducer.lookups import (
    NOBODY,
    Lookup,
    codes_among,
    is_blank,
    nobody,
    pick,
)
from ebpf_net.reducer.places import Place, place_key, shared_addresses
from ebpf_net.reducer.rows import int64_column

_KINDS = ("pod", "service", "node", "node_port", "load_balancer")
_KIND_TEXTS = pa.array(_KINDS)


@dataclass(frozen=True)
class Owners:
    """Rows of pods, services and nodes; at most one of pod and service is known."""

    pod: Int64
    service: Int64
    node: Int64

    @property
    def is_known(self) -> Bool:
        """Which of them there are."""
        known: Bool = (self.pod >= 0) | (self.service >= 0) | (self.node >= 0)
        return known

    def take(self, index: Int64) -> Owners:
        """Return the chosen ones."""
        return Owners(self.pod[index], self.service[index], self.node[index])

    def put(self, index: Int64, other: Owners) -> None:
        """Take over the others' rows at these places."""
        self.pod[index] = other.pod
        self.service[index] = other.service
        self.node[index] = other.node


class KubernetesNames:
    """Lookups of the addresses of all clusters; made anew when a table changes.

    ``shared`` are the addresses that several clusters have.
    """

    def __init__(self, clusters: Clusters) -> None:
        held = _held_addresses(clusters)
        is_address = (held.high | held.low) != 0  # not any node's
        inside = held.take(np.flatnonzero(is_address))
        self.shared = shared_addresses(inside.place, inside.high, inside.low)
        held = held.with_public(_is_kind(held, "service") | _is_kind(held, "node"))
        endpoints = _held_endpoints(clusters)
        self._pods = _names(held, "pod")
        self._nodes = _names(held, "node")
        self._services = _names(held, "service")
        self._node_ports = _names(held, "node_port")
        self._endpoint_pods = _names(endpoints, "pod")
        self._endpoint_services = _names(endpoints, "service")
        self._claimed = Lookup(np.unique(np.concatenate([held.key, endpoints.key])))
        self._has_public = bool((held.place == Place.ANYWHERE).any())

    def knows(self, kind: Place) -> bool:
        """Tell whether any address of a kind of place has a name."""
        return kind is Place.CLUSTER or (kind is Place.ANYWHERE and self._has_public)

    def find(self, seen: Seen, span: Span) -> Owners:
        """Return who was at the addresses."""
        count = len(seen)
        found = Owners(nobody(count), nobody(count), nobody(count))
        index = np.flatnonzero(self._claimed.find(seen.key) >= 0)
        if len(index):
            found.put(index, self._find(seen.take(index), span))
        return found

    def find_services(self, asked: Asked, span: Span) -> Int64:
        """Return the Service that was asked for at an address."""
        service = nobody(len(asked))
        for kind in filter(self.knows, Place):
            missing = np.flatnonzero(service < 0)
            seen = asked.take(missing).within(kind)
            at_node = self._nodes.find(seen, span) >= 0
            at_node |= is_loopback(seen.high, seen.low)
            service[missing] = self._find_services(seen, at_node, span)
        return service

    def _find(self, seen: Seen, span: Span) -> Owners:
        pod = self._pods.find(seen, span)
        node = self._nodes.find(seen, span)
        service = nobody(len(seen))
        others = np.flatnonzero((pod < 0) & (seen.service != 0))
        if len(others):
            part = seen.take(others)
            pod[others] = self._endpoint_pods.find(part, span)
            found = self._find_services(part, node[others] >= 0, span)
            outside = self._endpoint_services.find(part, span)
            found = np.where(found >= 0, found, outside)
            service[others] = np.where(pod[others] >= 0, NOBODY, found)
        node = np.where((pod >= 0) | (service >= 0), NOBODY, node)
        return Owners(pod, service, node)

    def _find_services(self, seen: Seen, at_node: Bool, span: Span) -> Int64:
        found = self._services.find(seen, span)
        if at_node.any():
            zero = np.zeros(len(seen), np.int64)  # any node's address
            ports = see(seen.place, zero, zero, seen.service)
            other = np.where(at_node, self._node_ports.find(ports, span), NOBODY)
            found = np.where(found >= 0, found, other)
        return found


def _is_kind(held: Held, kind: str) -> Bool:
    same: Bool = held.kind == _KINDS.index(kind)
    return same & (held.owner >= 0)


def _names(held: Held, kind: str) -> AddressNames:
    return AddressNames(held.take(np.flatnonzero(_is_kind(held, kind))))


def _held_addresses(clusters: Clusters) -> Held:
    table = clusters["addresses"]
    cluster = clusters.of("addresses")
    kind = codes_among(table["kind"], _KIND_TEXTS)
    kind[kind == _KINDS.index("load_balancer")] = _KINDS.index("service")
    owner = nobody(len(cluster))
    for name in ("pods", "services", "nodes"):
        uid = f"{name.removesuffix('s')}_uid"
        found = clusters.rows_by(name, uid).find_within(cluster, table["owner_uid"])
        owner = np.where(owner >= 0, owner, found)
    span = int64_column(table, "from_ns"), int64_column(table, "until_ns")
    return _make_held(table, owner, kind, span, "address_key")


def _held_endpoints(clusters: Clusters) -> Held:
    table = clusters["endpoints"]
    cluster = clusters.of("endpoints")
    pods = clusters.rows_by("pods", "pod_uid")
    services = clusters.rows_by("services", "service_uid")
    # Of pods on their host's network only: others are known by their address, by time.
    on_host = clusters["pods"]["host_network"].to_numpy().astype(np.int64)
    pod = pods.find_within(cluster, table["pod_uid"])
    pod = np.where(pick(on_host, pod, 0) == 1, pod, NOBODY)
    service = services.find_within(cluster, table["service_uid"])
    is_pod = ~is_blank(table["pod_uid"])
    owner = np.where(is_pod, pod, service)
    kind = np.where(is_pod, _KINDS.index("pod"), _KINDS.index("service"))
    always = np.zeros(len(cluster), np.int64)
    return _make_held(table, owner, kind, (always, always), "endpoint_key")


def _make_held(
    table: pa.Table, owner: Int64, kind: Int64, span: tuple[Int64, Int64], text: str
) -> Held:
    place = place_key(Place.CLUSTER, int64_column(table, "cluster"))
    high, low = (int64_column(table, f"address_{half}") for half in ("high", "low"))
    service = int64_column(table, "port") << 8 | int64_column(table, "protocol")
    tie = ties(combine(place, high, low, service, kind, span[0]), table[text])
    return Held(place, high, low, service, owner, kind, *span, tie)
