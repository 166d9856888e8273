"""From a pod to rows: the pod, its containers, its addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from sys import intern

from ebpf_net.collectors.addresses import to_ns
from ebpf_net.collectors.kubernetes.address_rows import Holder, address_row
from ebpf_net.collectors.kubernetes.images import split_image
from ebpf_net.collectors.kubernetes.objects import (
    Container,
    ContainerStatus,
    Pod,
    PodStatus,
)
from ebpf_net.collectors.kubernetes.owners import Owner
from ebpf_net.collectors.object_labels import AllowList
from ebpf_net.collectors.row_table import Row

_WORKLOAD = slice(5, 8)  # places of the workload's kind, name and uid
_SECOND_NS = 1_000_000_000
_FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Allowed:
    """What of labels and annotations is told."""

    labels: AllowList
    annotations: AllowList


def pod_row(pod: Pod, owner: Owner, allowed: Allowed) -> Row:
    """Return the row of ``kubernetes_pods``."""
    metadata, spec = pod.metadata, pod.spec
    versions = {split_image(one.image)[1] for one in spec.containers or ()} - {""}
    return (
        metadata.uid,
        metadata.name,
        intern(metadata.namespace),
        intern(spec.node_name),
        intern(pod.status.phase),
        owner.kind,
        owner.name,
        owner.uid,
        intern(",".join(sorted(versions))),
        allowed.labels.to_json(metadata.labels),
        allowed.annotations.to_json(metadata.annotations),
        bool(spec.host_network),
    )


def owner_of_row(row: Row) -> Owner:
    """Return the owner that a pod's row has."""
    kind, name, uid = row[_WORKLOAD]
    return Owner(str(kind), str(name), str(uid))


def with_owner(row: Row, owner: Owner) -> Row:
    """Return a pod's row with another owner."""
    return (*row[: _WORKLOAD.start], *owner, *row[_WORKLOAD.stop :])


def container_rows(pod: Pod) -> Iterator[tuple[str, Row]]:
    """Yield keys and rows of ``kubernetes_containers``."""
    spec, status = pod.spec, pod.status
    kinds = (
        ("container", spec.containers, status.container_statuses),
        ("init", spec.init_containers, status.init_container_statuses),
        ("ephemeral", spec.ephemeral_containers, status.ephemeral_container_statuses),
    )
    for kind, containers, statuses in kinds:
        yield from _container_rows(pod.metadata.uid, kind, containers, statuses)


def pod_address_rows(pod: Pod) -> Iterator[tuple[str, Row]]:
    """Yield keys and rows of ``kubernetes_addresses``; none of the host's network."""
    status = pod.status
    if pod.spec.host_network:
        return
    holder = Holder("pod", pod.metadata.uid, _started_ns(pod))
    texts = [address.ip for address in status.pod_ips or ()] or [status.pod_ip]
    for text in texts:
        found = address_row(holder, text)
        if found is not None:
            yield found


def has_finished(pod: Pod) -> bool:
    """Whether all its containers have ended for good."""
    return pod.status.phase in _FINISHED


def finished_ns(pod: Pod) -> int:
    """Return when its last container ended, or 0 where the API does not tell.

    It tells whole seconds, so that the end is within the second before this.
    """
    ends = list(_ends(pod.status))
    return max(ends) + _SECOND_NS if ends and all(ends) else 0


def _started_ns(pod: Pod) -> int:
    """Return since when the pod may have its address, to the second before it."""
    status = pod.status
    sandbox_ns = max(
        (
            to_ns(one.last_transition_time)
            for one in status.conditions or ()
            if one.type == "PodReadyToStartContainers" and one.status == "True"
        ),
        default=0,
    )
    started_ns = to_ns(status.start_time) or to_ns(pod.metadata.creation_timestamp)
    return max(sandbox_ns - _SECOND_NS, started_ns) if sandbox_ns else started_ns


def _ends(status: PodStatus) -> Iterator[int]:
    for one in status.container_statuses or ():
        terminated = one.state.terminated if one.state else None
        yield to_ns(terminated.finished_at) if terminated else 0


def _container_rows(
    pod_uid: str,
    kind: str,
    containers: Sequence[Container] | None,
    statuses: Sequence[ContainerStatus] | None,
) -> Iterator[tuple[str, Row]]:
    ids = {one.name: one.container_id for one in statuses or ()}
    for container in containers or ():
        name = intern(container.name)
        key = f"{pod_uid}/{name}"
        image, version = split_image(container.image)
        yield (
            key,
            (
                *(key, pod_uid, name, kind),
                ids.get(name, "").rpartition("://")[2],
                intern(image),
                intern(version),
            ),
        )
