"""From services and their slices to rows: names, addresses and backends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sys import intern
from typing import NamedTuple

from ebpf_net.collectors.addresses import parse_address, to_ns
from ebpf_net.collectors.kubernetes.address_rows import (
    PROTOCOLS,
    Holder,
    address_row,
    node_port_row,
)
from ebpf_net.collectors.kubernetes.objects import (
    EndpointPort,
    EndpointSlice,
    Service,
    ServicePort,
)
from ebpf_net.collectors.object_labels import AllowList
from ebpf_net.collectors.row_table import Row

_SERVICE_LABEL = "kubernetes.io/service-name"


class Name(NamedTuple):
    """What tells an object from others of its kind that live at the same time."""

    namespace: str
    name: str


class Backend(NamedTuple):
    """One address and port behind a service."""

    address: str
    port: int
    protocol: int
    pod_uid: str


def name_of_service(service: Service) -> Name:
    """Return a service's name."""
    return Name(intern(service.metadata.namespace), intern(service.metadata.name))


def service_row(service: Service, labels: AllowList) -> Row:
    """Return the row of ``kubernetes_services``."""
    metadata, named = service.metadata, name_of_service(service)
    return (
        metadata.uid,
        named.name,
        named.namespace,
        intern(service.spec.type),
        labels.to_json(metadata.labels),
    )


def service_address_rows(service: Service) -> Iterator[tuple[str, Row]]:
    """Yield keys and rows of ``kubernetes_addresses``."""
    spec, uid = service.spec, service.metadata.uid
    from_ns = to_ns(service.metadata.creation_timestamp)
    holder = Holder("service", uid, from_ns)
    for text in spec.cluster_ips or [spec.cluster_ip]:
        found = address_row(holder, text)  # "None" of a headless service is none
        if found is not None:
            yield found
    ports = list(_counted_ports(spec.ports or ()))
    outside = Holder("load_balancer", uid, from_ns)
    for text in _outside_addresses(service):
        for port, protocol, _ in ports:
            found = address_row(outside, text, port, protocol)
            if found is not None:
                yield found
    nodes = Holder("node_port", uid, from_ns)
    for _, protocol, node_port in ports:
        if node_port:
            yield node_port_row(nodes, node_port, protocol)


def name_of_slice(endpoint_slice: EndpointSlice) -> Name | None:
    """Return the name of the service that a slice is of."""
    metadata = endpoint_slice.metadata
    name = (metadata.labels or {}).get(_SERVICE_LABEL)
    return Name(intern(metadata.namespace), intern(name)) if name else None


def backends(endpoint_slice: EndpointSlice) -> tuple[Backend, ...]:
    """Return what a slice lists: any address with any of its ports."""
    if endpoint_slice.address_type not in ("IPv4", "IPv6"):
        return ()
    ports = list(_slice_ports(endpoint_slice.ports))
    found = []
    for endpoint in endpoint_slice.endpoints or ():
        target = endpoint.target_ref
        pod_uid = intern(target.uid) if target and target.kind == "Pod" else ""
        for address in endpoint.addresses or ():
            found += [Backend(address, *port, pod_uid) for port in ports]
    return tuple(found)


def endpoint_row(service_uid: str, backend: Backend) -> tuple[str, Row] | None:
    """Return the key and row of ``kubernetes_endpoints``."""
    halves = parse_address(backend.address)
    if halves is None:
        return None
    key = f"{service_uid}/{backend.address}/{backend.port}/{backend.protocol}"
    row = (
        *(key, service_uid, backend.pod_uid, *halves),
        *(backend.port, backend.protocol),
    )
    return key, row


def _outside_addresses(service: Service) -> list[str]:
    balancer = service.status.load_balancer
    texts = [*(service.spec.external_ips or ())]
    texts += [one.ip for one in (balancer.ingress or () if balancer else ())]
    return list(dict.fromkeys(text for text in texts if text))


def _counted_ports(ports: Sequence[ServicePort]) -> Iterator[tuple[int, int, int]]:
    for port in ports:
        protocol = PROTOCOLS.get(port.protocol)
        if protocol is not None:
            yield port.port, protocol, port.node_port or 0


def _slice_ports(ports: Sequence[EndpointPort] | None) -> Iterator[tuple[int, int]]:
    """Yield port and protocol; no ports at all, or one without a number, is any."""
    for port in ports or (EndpointPort(),):
        if port.port is None:
            yield 0, 0
        elif (port.protocol or "TCP") in PROTOCOLS:
            yield port.port, PROTOCOLS[port.protocol or "TCP"]
