"""What is read of Kubernetes objects; all else of them is skipped while decoding.

Field names are those of the API in snake case. Go writes an empty list as null.
Numbers and times that no row has room for make an object undecodable.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

_YEARS = range(1970, 2262)  # of Unix time in nanoseconds, in 63 bits

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class _Object(msgspec.Struct, rename="camel", gc=False):
    """Unknown fields are skipped, without an object for any of them."""


def _check_time(time: datetime | None) -> None:
    if time is not None and time.year not in _YEARS:
        raise ValueError(f"a time is in the year {time.year}")


class OwnerReference(_Object):
    """Whose an object is."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    controller: bool | None = None


class Metadata(_Object):
    """What every object has."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None

    def __post_init__(self) -> None:
        """Check the time."""
        _check_time(self.creation_timestamp)


class PartialObject(_Object):
    """Any object, of which only the metadata is asked for."""

    metadata: Metadata


class Container(_Object):
    """A container as it was asked for."""

    name: str = ""
    image: str = ""


class PodSpec(_Object):
    """What a pod was asked to be."""

    node_name: str = ""
    host_network: bool | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    ephemeral_containers: list[Container] | None = None


class Terminated(_Object):
    """A container's end."""

    finished_at: datetime | None = None

    def __post_init__(self) -> None:
        """Check the time."""
        _check_time(self.finished_at)


class ContainerState(_Object):
    """Only the end is of interest."""

    terminated: Terminated | None = None


class ContainerStatus(_Object):
    """A container as it is."""

    name: str = ""
    container_id: str = msgspec.field(name="containerID", default="")
    state: ContainerState | None = None


class PodAddress(_Object):
    """One of a pod's addresses."""

    ip: str = ""


class Condition(_Object):
    """One of a pod's conditions."""

    type: str = ""
    status: str = ""
    last_transition_time: datetime | None = None

    def __post_init__(self) -> None:
        """Check the time."""
        _check_time(self.last_transition_time)


class PodStatus(_Object):
    """What a pod is now."""

    phase: str = ""
    start_time: datetime | None = None
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: list[PodAddress] | None = msgspec.field(name="podIPs", default=None)
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    ephemeral_container_statuses: list[ContainerStatus] | None = None

    def __post_init__(self) -> None:
        """Check the time."""
        _check_time(self.start_time)


class Pod(_Object):
    """A pod."""

    metadata: Metadata
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class ServicePort(_Object):
    """A port of a service."""

    port: Port = 0
    node_port: Port | None = None
    protocol: str = "TCP"


class ServiceSpec(_Object):
    """Where a service is."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: list[str] | None = msgspec.field(name="clusterIPs", default=None)
    external_ips: list[str] | None = msgspec.field(name="externalIPs", default=None)
    load_balancer_ip: str = msgspec.field(name="loadBalancerIP", default="")
    ports: list[ServicePort] | None = None


class LoadBalancerIngress(_Object):
    """One of a load balancer's addresses; some have a name only."""

    ip: str = ""


class LoadBalancerStatus(_Object):
    """A load balancer's addresses."""

    ingress: list[LoadBalancerIngress] | None = None


class ServiceStatus(_Object):
    """What became of a service."""

    load_balancer: LoadBalancerStatus | None = None


class Service(_Object):
    """A service."""

    metadata: Metadata
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)
    status: ServiceStatus = msgspec.field(default_factory=ServiceStatus)


class EndpointTarget(_Object):
    """What an endpoint is."""

    kind: str = ""
    uid: str = ""


class Endpoint(_Object):
    """One backend."""

    addresses: list[str] | None = None
    target_ref: EndpointTarget | None = None


class EndpointPort(_Object):
    """A port of all endpoints of a slice; null is any."""

    port: Port | None = None
    protocol: str | None = None


class EndpointSlice(_Object):
    """Some of a service's backends."""

    metadata: Metadata
    address_type: str = "IPv4"
    endpoints: list[Endpoint] | None = None
    ports: list[EndpointPort] | None = None


class NodeAddress(_Object):
    """One of a node's addresses or names."""

    type: str = ""
    address: str = ""


class NodeInfo(_Object):
    """What a node says of itself."""

    machine_id: str = msgspec.field(name="machineID", default="")
    boot_id: str = msgspec.field(name="bootID", default="")


class NodeSpec(_Object):
    """What a node was asked to be."""

    provider_id: str = msgspec.field(name="providerID", default="")


class NodeStatus(_Object):
    """What a node is."""

    addresses: list[NodeAddress] | None = None
    node_info: NodeInfo = msgspec.field(default_factory=NodeInfo)


class Node(_Object):
    """A node."""

    metadata: Metadata
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


KubernetesObject = PartialObject | Pod | Service | EndpointSlice | Node
