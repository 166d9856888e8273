"""Who is at an address of a cluster: pods, Services and nodes, by time.

An address means something in one cluster only, the one of whoever talks to it. Public
addresses mean the same everywhere, as long as only one cluster has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.reducer.addresses import is_public
from ebpf_net.reducer.claims import Claim, Claims, Span
from ebpf_net.reducer.keys import Bool, Int64, combine, is_loopback
from ebpf_net.reducer.kubernetes_tables import Clusters
from ebpf_net.reducer.lookups import (
    NOBODY,
    Lookup,
    codes_among,
    is_blank,
    nobody,
    only_one,
    pick,
)
from ebpf_net.reducer.rows import int64_column

ANYWHERE = -1
"""The cluster of those who are in none."""


_PORT = 0xFFFF00  # of port and protocol in one number
_KINDS = ("pod", "service", "node", "node_port", "load_balancer")
_KIND_TEXTS = pa.array(_KINDS)


@dataclass(frozen=True)
class Asked:
    """Addresses, as seen from a cluster. ``service`` is port and protocol.

    As in ``keys.edge_keys``: port << 8 | protocol; 0 where the end is a client.
    """

    cluster: Int64
    high: Int64
    low: Int64
    service: Int64

    def take(self, index: Int64) -> Asked:
        """Return the chosen ones."""
        return Asked(
            self.cluster[index], self.high[index], self.low[index], self.service[index]
        )

    def __len__(self) -> int:
        return len(self.high)


@dataclass(frozen=True)
class Owners:
    """Rows of pods, services and nodes; at most one of pod and service is known."""

    pod: Int64
    service: Int64
    node: Int64

    def put(self, index: Int64, other: Owners) -> None:
        """Take over the others' rows at these places."""
        self.pod[index] = other.pod
        self.service[index] = other.service
        self.node[index] = other.node


class KubernetesNames:
    """Lookups of the addresses of all clusters; made anew when a table changes.

    ``shared`` finds the addresses that several clusters have, by a key of both halves.
    """

    def __init__(self, clusters: Clusters) -> None:
        rows = _address_rows(clusters)
        endpoints = _endpoint_rows(clusters)
        self._pods = _claims(rows, "pod", rows.address_key)
        self._nodes = _claims(rows, "node", rows.address_key)
        self._services = _ServiceClaims(rows, "service")
        self._node_ports = _ServiceClaims(rows, "node_port")
        self._endpoint_pods = _ServiceClaims(endpoints, "pod")
        self._endpoint_services = _ServiceClaims(endpoints, "service")
        everything = [rows.address_key, endpoints.address_key]
        self._claimed = Lookup(np.unique(np.concatenate(everything)))
        self.shared = _shared(rows)
        self._has_public = bool((rows.cluster == ANYWHERE).any())

    def find(self, asked: Asked, span: Span) -> Owners:
        """Return who was at the addresses."""
        found = _no_owners(len(asked))
        seen = [asked.cluster]
        if self._has_public:
            seen.append(np.full(len(asked), ANYWHERE, np.int64))
        for cluster in seen:
            key = combine(cluster, asked.high, asked.low)
            known = (self._claimed.find(key) >= 0) & (found.pod < 0)
            known &= (found.service < 0) & (found.node < 0)
            index = np.flatnonzero(known)
            if len(index):
                part = asked.take(index)
                part = Asked(cluster[index], part.high, part.low, part.service)
                found.put(index, self._find(part, key[index], span))
        return found

    def find_services(self, asked: Asked, span: Span) -> Int64:
        """Return the Service that was asked for at an address."""
        key = combine(asked.cluster, asked.high, asked.low)
        node = self._nodes.find(key, span) >= 0
        node |= is_loopback(asked.high, asked.low)
        service = self._find_services(asked, node, span)
        if self._has_public:
            missing = np.flatnonzero(service < 0)
            part = asked.take(missing)
            public = Asked(
                np.full(len(part), ANYWHERE, np.int64),
                part.high,
                part.low,
                part.service,
            )
            no = np.zeros(len(part), np.bool_)
            service[missing] = self._find_services(public, no, span)
        return service

    def _find(self, asked: Asked, key: Int64, span: Span) -> Owners:
        pod = self._pods.find(key, span)
        node = self._nodes.find(key, span)
        service = nobody(len(asked))
        others = np.flatnonzero((pod < 0) & (asked.service != 0))
        if len(others):
            part = asked.take(others)
            pod[others] = self._endpoint_pods.find(part, span)
            found = self._find_services(part, node[others] >= 0, span)
            outside = self._endpoint_services.find(part, span)
            found = np.where(found >= 0, found, outside)
            service[others] = np.where(pod[others] >= 0, NOBODY, found)
        node = np.where((pod >= 0) | (service >= 0), NOBODY, node)
        return Owners(pod, service, node)

    def _find_services(self, asked: Asked, at_node: Bool, span: Span) -> Int64:
        found = self._services.find(asked, span)
        if at_node.any():
            zero = np.zeros(len(asked), np.int64)  # any node's address
            ports = Asked(asked.cluster, zero, zero, asked.service)
            other = np.where(at_node, self._node_ports.find(ports, span), NOBODY)
            found = np.where(found >= 0, found, other)
        return found


@dataclass(frozen=True)
class _Rows:
    """Addresses with their owners' rows; ``kind`` is the table of the owner."""

    cluster: Int64
    high: Int64
    low: Int64
    service: Int64
    owner: Int64
    kind: Int64  # place in _KINDS
    from_ns: Int64
    until_ns: Int64
    tie: Int64

    @property
    def address_key(self) -> Int64:
        return combine(self.cluster, self.high, self.low)

    def is_kind(self, kind: str) -> Bool:
        same: Bool = self.kind == _KINDS.index(kind)
        return same & (self.owner >= 0)

    def take(self, index: Int64) -> _Rows:
        return _Rows(**{name: values[index] for name, values in vars(self).items()})


def _no_owners(count: int) -> Owners:
    return Owners(nobody(count), nobody(count), nobody(count))


def _address_rows(clusters: Clusters) -> _Rows:
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
    return _with_public(_make_rows(table, owner, kind, span, "address_key"))


def _endpoint_rows(clusters: Clusters) -> _Rows:
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
    return _make_rows(table, owner, kind, (always, always), "endpoint_key")


def _make_rows(
    table: pa.Table, owner: Int64, kind: Int64, span: tuple[Int64, Int64], text: str
) -> _Rows:
    cluster = int64_column(table, "cluster")
    high, low = (int64_column(table, f"address_{half}") for half in ("high", "low"))
    service = int64_column(table, "port") << 8 | int64_column(table, "protocol")
    ties = _ties(combine(cluster, high, low, service, kind, span[0]), table[text])
    return _Rows(cluster, high, low, service, owner, kind, *span, ties)


def _shared(rows: _Rows) -> Lookup:
    """Return the addresses that more than one cluster has, by their halves."""
    inside = np.flatnonzero((rows.cluster != ANYWHERE) & ((rows.high | rows.low) != 0))
    address = combine(rows.high[inside], rows.low[inside])
    return Lookup(np.unique(address[~only_one(address, rows.cluster[inside])]))


def _with_public(rows: _Rows) -> _Rows:
    """Add public addresses of nodes and Services as seen from outside any cluster."""
    kinds = rows.is_kind("service") | rows.is_kind("node")
    chosen = np.flatnonzero(kinds & is_public(rows.high, rows.low))
    if not len(chosen):
        return rows
    public = rows.take(chosen)
    alone = only_one(combine(public.high, public.low), public.cluster)
    public = public.take(np.flatnonzero(alone))
    columns = {
        name: np.concatenate([values, getattr(public, name)])
        for name, values in vars(rows).items()
    }
    columns["cluster"][len(rows.cluster) :] = ANYWHERE
    return _Rows(**columns)


def _claims(rows: _Rows, kind: str, key: Int64) -> Claims:
    chosen = np.flatnonzero(rows.is_kind(kind))
    return Claims(
        Claim(
            key[chosen],
            rows.owner[chosen],
            rows.from_ns[chosen],
            rows.until_ns[chosen],
            rows.tie[chosen],
        )
    )


class _ServiceClaims:
    """Claims on an address with a port and a protocol, either of which may be any."""

    def __init__(self, rows: _Rows, kind: str) -> None:
        self._claims = _claims(rows, kind, combine(rows.address_key, rows.service))
        service = rows.service[rows.is_kind(kind)]
        shape = np.where(service >> 8, _PORT, 0) | np.where(service & 0xFF, 0xFF, 0)
        self._shapes = sorted(np.unique(shape).tolist(), reverse=True)

    def find(self, asked: Asked, span: Span) -> Int64:
        """Return the owner of each address; who tells the port goes first."""
        found = nobody(len(asked))
        address = combine(asked.cluster, asked.high, asked.low)
        for shape in self._shapes:
            owner = self._claims.find(combine(address, asked.service & shape), span)
            found = np.where(found >= 0, found, owner)
        return found


def _ties(key: Int64, column: pa.ChunkedArray[Any]) -> Int64:
    """Return the order of the texts of rows with the same key; 0 where it is alone."""
    ties = np.zeros(len(key), np.int64)
    _, number, count = np.unique(key, return_inverse=True, return_counts=True)
    again = np.flatnonzero(count[number] > 1)
    if len(again):
        order = pc.sort_indices(column.take(again)).to_numpy()
        ties[again[order]] = np.arange(len(order))
    return ties
