"""What is listed and watched, in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import msgspec

from ebpf_net.collectors.kubernetes.objects import (
    EndpointSlice,
    KubernetesObject,
    Node,
    PartialObject,
    Pod,
    Service,
)

Decode = Callable[[msgspec.Raw], KubernetesObject]
_PARTIAL = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class Resource:
    """A resource of the API; ``tables`` are what is not known without it."""

    name: str
    group: str
    path: str
    decode: Decode
    tables: str
    metadata_only: bool = False
    page: int = 100

    @property
    def list_accept(self) -> str:
        """Say in which form a list is asked for."""
        return _PARTIAL.format("List") if self.metadata_only else "application/json"

    @property
    def watch_accept(self) -> str:
        """Say in which form events are asked for."""
        return _PARTIAL.format("") if self.metadata_only else "application/json"

    @property
    def full_name(self) -> str:
        """Its name as in a rule of RBAC, with the group."""
        return f"{self.name}.{self.group}" if self.group else self.name


def _decoder(kind: type[KubernetesObject]) -> Decode:
    return cast("Decode", msgspec.json.Decoder(kind).decode)


RESOURCES: tuple[Resource, ...] = (
    Resource(
        "namespaces", "", "/api/v1/namespaces", _decoder(PartialObject),
        "namespaces", metadata_only=True,
    ),
    Resource("nodes", "", "/api/v1/nodes", _decoder(Node), "nodes", page=50),
    Resource(
        "replicasets", "apps", "/apis/apps/v1/replicasets", _decoder(PartialObject),
        "Deployments and rollouts of pods", metadata_only=True,
    ),
    Resource(
        "jobs", "batch", "/apis/batch/v1/jobs", _decoder(PartialObject),
        "CronJobs of pods", metadata_only=True,
    ),
    Resource("services", "", "/api/v1/services", _decoder(Service), "services"),
    Resource(
        "endpointslices", "discovery.k8s.io",
        "/apis/discovery.k8s.io/v1/endpointslices", _decoder(EndpointSlice),
        "backends of services", page=100,
    ),
    Resource("pods", "", "/api/v1/pods", _decoder(Pod), "pods"),
)  # fmt: skip
"""In the order to begin with: owners before what they own."""
