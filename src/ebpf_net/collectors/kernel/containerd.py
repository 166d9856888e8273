"""Containers of containerd by its own API: those of Kubernetes, nerdctl and ctr.

Its API knows more than the CRI that it also speaks: all namespaces, the image's name
and the cgroup, where a container's id is any name. It is there without Kubernetes.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ebpf_net.collectors.kernel import grpc_client
from ebpf_net.collectors.kernel.container_api import ApiError, NotAllAskedError
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
    as_list,
    as_object,
    as_text,
    make_details,
    nomad_labels,
)
from ebpf_net.collectors.kernel.protobuf_fields import (
    read_map,
    read_message,
    read_messages,
    read_text,
    write_field,
)

_LIST_NAMESPACES = "/containerd.services.namespaces.v1.Namespaces/List"
_GET_CONTAINER = "/containerd.services.containers.v1.Containers/Get"
_MAX_NAMESPACES = 16
_NAMELESS = frozenset({"moby", "plugins.moby"})  # Docker's: Docker has their names
_GENERATED_ID = re.compile(r"[0-9a-f]{64}")
_CRI = "io.kubernetes.cri."
_CRI_LABELS = {
    f"{_CRI}container-name": "io.kubernetes.container.name",
    f"{_CRI}sandbox-name": "io.kubernetes.pod.name",
    f"{_CRI}sandbox-namespace": "io.kubernetes.pod.namespace",
    f"{_CRI}sandbox-uid": "io.kubernetes.pod.uid",
}


def fetch_details(
    socket_path: Path, question: ContainerQuestion, timeout_seconds: float
) -> ContainerDetails | None:
    """Ask for the container in each namespace; None if there is none of that id.

    Raises NotAllAskedError if there are too many namespaces to ask for it in each, and
    OSError or ApiError for all else.
    """
    deadline = time.monotonic() + timeout_seconds
    identity = question.container_id or question.path.rpartition("/")[2]
    answer = grpc_client.call(socket_path, _LIST_NAMESPACES, b"", timeout_seconds)
    namespaces = [read_text(entry, 1) for entry in read_messages(answer, 1)]
    wanted = [name for name in namespaces if name not in _NAMELESS]
    for namespace in wanted[:_MAX_NAMESPACES]:
        left = deadline - time.monotonic()
        container = _get(socket_path, namespace, identity, left)
        if container is None:
            continue
        if question.container_id or cgroup_path(container) == question.path:
            return parse_details(container)
    if len(wanted) > _MAX_NAMESPACES:
        raise NotAllAskedError(f"it has {len(wanted)} namespaces")
    return None


def parse_details(container: bytes) -> ContainerDetails:
    """Take name, image and labels from a ``containers.v1.Container``."""
    identity = as_text(read_text(container, 1))
    labels = read_map(container, 2)
    spec = _spec(container)
    annotations = as_object(spec.get("annotations"))
    for key, label in _CRI_LABELS.items():
        if annotations.get(key):
            labels.setdefault(label, as_text(annotations[key]))
    variables = as_list(as_object(spec.get("process")).get("env"))
    generated = _GENERATED_ID.fullmatch(identity) is not None
    return make_details(
        name=(
            labels.get("nerdctl/name")
            or labels.get("io.kubernetes.container.name")
            or ("" if generated else identity)
        ),
        image=as_text(annotations.get(f"{_CRI}image-name")) or read_text(container, 3),
        labels=nomad_labels(variables) | labels,
        runtime="containerd",
        container_id=identity,
    )


def cgroup_path(container: bytes) -> str:
    """Return the cgroup that a container was started in, as the cgroupfs driver's."""
    return as_text(as_object(_spec(container).get("linux")).get("cgroupsPath"))


def _get(
    socket_path: Path, namespace: str, identity: str, timeout_seconds: float
) -> bytes | None:
    try:
        answer = grpc_client.call(
            socket_path,
            _GET_CONTAINER,
            write_field(1, identity),
            timeout_seconds,
            {"containerd-namespace": namespace},
        )
    except grpc_client.GrpcError as error:
        if error.status == grpc_client.NOT_FOUND:
            return None
        raise
    return read_message(answer, 1)


def _spec(container: bytes) -> Mapping[str, Any]:
    """Return the OCI configuration, which containerd keeps as JSON."""
    content = read_message(read_message(container, 5), 2)
    try:
        return as_object(json.loads(content)) if content else {}
    except (ValueError, RecursionError) as error:
        raise ApiError(f"a container's specification is no JSON: {error}") from error
