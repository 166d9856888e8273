"""Containers by the Docker API, which podman speaks too."""

from __future__ import annotations

import contextlib
import http.client
import json
from pathlib import Path
from typing import Any

from ebpf_net.collectors.kernel.container_api import ApiError
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
    as_list,
    as_object,
    as_text,
    make_details,
    nomad_labels,
)
from ebpf_net.collectors.kernel.unix_socket import UnixSocket

_MAX_ANSWER_BYTES = 4 << 20
_HTTP_OK = 200
_HTTP_NOT_FOUND = 404


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("localhost")
        self._path = path
        self._timeout_seconds = timeout_seconds

    def connect(self) -> None:
        self.sock = UnixSocket(self._path, self._timeout_seconds)


def fetch_details(
    socket_path: Path,
    question: ContainerQuestion,
    timeout_seconds: float,
    runtime: str = "docker",
) -> ContainerDetails | None:
    """Ask ``runtime`` for one container; None if it does not know it.

    Raises OSError or ApiError for all else.
    """
    connection = _UnixConnection(socket_path, timeout_seconds)
    try:
        with contextlib.closing(connection):
            connection.request("GET", f"/containers/{question.container_id}/json")
            response = connection.getresponse()
            body = response.read(_MAX_ANSWER_BYTES + 1)
    except http.client.HTTPException as error:
        raise ApiError(f"no HTTP: {error!r}") from error
    if response.status == _HTTP_NOT_FOUND:
        return None
    if response.status != _HTTP_OK:
        raise ApiError(f"it answers with status {response.status}")
    if len(body) > _MAX_ANSWER_BYTES:
        raise ApiError(f"its answer is larger than {_MAX_ANSWER_BYTES} bytes")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(f"its answer is no JSON: {error}") from error
    return parse_details(answer, runtime)


def parse_details(answer: Any, runtime: str) -> ContainerDetails:
    """Take name, image and labels from an answer; what is missing stays empty."""
    container = as_object(answer)
    config = as_object(container.get("Config"))
    labels = as_object(config.get("Labels"))
    return make_details(
        name=as_text(container.get("Name")).removeprefix("/"),
        image=as_text(config.get("Image")),
        labels={**nomad_labels(as_list(config.get("Env"))), **labels},
        runtime=runtime,
    )
