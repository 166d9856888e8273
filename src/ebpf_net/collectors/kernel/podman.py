"""Containers of podman: by its API, which is Docker's, or without it by its storage.

Few hosts have podman's API enabled; what its storage keeps has names and images, but
no labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ebpf_net.collectors.kernel import docker
from ebpf_net.collectors.kernel.container_api import ApiError
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
    as_list,
    as_object,
    as_text,
    make_details,
)

STORAGE = Path("/var/lib/containers/storage")
_LISTS = tuple(
    f"{driver}-containers/{name}.json"
    for driver in ("overlay", "vfs", "btrfs", "zfs")
    for name in ("containers", "volatile-containers")
)
_MAX_LIST_BYTES = 8 << 20


def fetch_details(
    place: Path, question: ContainerQuestion, timeout_seconds: float
) -> ContainerDetails | None:
    """Ask for one container at podman's socket, or look for it in its storage.

    Raises OSError or ApiError for all but that there is none of that id.
    """
    if not place.is_dir():
        return docker.fetch_details(place, question, timeout_seconds, "podman")
    for container in _stored_containers(place):
        if container.get("id") == question.container_id:
            return parse_stored(container)
    return None


def parse_stored(container: Mapping[str, Any]) -> ContainerDetails:
    """Take name and image from an entry of the storage's list of containers."""
    metadata = as_object(_json(as_text(container.get("metadata")) or "{}"))
    names = [as_text(name) for name in as_list(container.get("names"))]
    return make_details(
        name=as_text(metadata.get("name")) or next(iter(names), ""),
        image=as_text(metadata.get("image-name")),
        labels={},
        runtime="podman",
    )


def _stored_containers(storage: Path) -> Iterator[Mapping[str, Any]]:
    for name in _LISTS:
        try:
            with (storage / name).open("rb") as file:
                content = file.read(_MAX_LIST_BYTES + 1)
        except FileNotFoundError:
            continue
        if len(content) > _MAX_LIST_BYTES:
            raise ApiError(f"its list of containers is over {_MAX_LIST_BYTES} bytes")
        yield from map(as_object, as_list(_json(content)))


def _json(content: str | bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ApiError(f"its list of containers is no JSON: {error}") from error
