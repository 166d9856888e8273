"""Containers of a runtime that speaks Kubernetes' CRI, as CRI-O does."""

from __future__ import annotations

from pathlib import Path

from ebpf_net.collectors.kernel import grpc_client
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
    make_details,
)
from ebpf_net.collectors.kernel.protobuf_fields import (
    read_map,
    read_message,
    read_text,
    write_field,
)

_CONTAINER_STATUS = "/runtime.v1.RuntimeService/ContainerStatus"


def fetch_details(
    socket_path: Path, question: ContainerQuestion, timeout_seconds: float
) -> ContainerDetails | None:
    """Ask for one container; None if the runtime does not know it.

    Raises OSError or ApiError for all else.
    """
    try:
        answer = grpc_client.call(
            socket_path,
            _CONTAINER_STATUS,
            write_field(1, question.container_id),
            timeout_seconds,
        )
    except grpc_client.GrpcError as error:
        if error.status == grpc_client.NOT_FOUND:
            return None
        raise
    return parse_details(read_message(answer, 1))


def parse_details(status: bytes) -> ContainerDetails:
    """Take name, image and labels from a ``runtime.v1.ContainerStatus``."""
    image = read_message(status, 8)
    return make_details(
        name=read_text(read_message(status, 2), 1),
        image=read_text(image, 1) or read_text(status, 9),
        labels=read_map(status, 12),
        runtime="crio",
    )
