"""What a container runtime knows about a container, within bounds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_MAX_TEXT_LENGTH = 4096
_MAX_LABEL_LENGTH = 4096
_MAX_LABELS_LENGTH = 32_768  # as JSON; the intake takes texts of 64 KiB
_NAMING_LABELS = (
    "io.kubernetes.",
    "com.hashicorp.nomad.",
    "com.amazonaws.ecs.",
    "com.docker.compose.",
)
"""Names of workloads come from these: others must not push them out."""
_NOMAD_VARIABLES = {
    "NOMAD_JOB_NAME": "com.hashicorp.nomad.job_name",
    "NOMAD_GROUP_NAME": "com.hashicorp.nomad.task_group_name",
    "NOMAD_TASK_NAME": "com.hashicorp.nomad.task_name",
    "NOMAD_NAMESPACE": "com.hashicorp.nomad.namespace",
    "NOMAD_ALLOC_ID": "com.hashicorp.nomad.alloc_id",
}


@dataclass(frozen=True)
class ContainerQuestion:
    """A cgroup whose container a runtime is asked about.

    Without ``container_id`` only the path tells whether it is one.
    """

    container_id: str
    runtime: str = ""
    path: str = ""


@dataclass(frozen=True)
class ContainerDetails:
    """What a container runtime's API knows about a container."""

    name: str = ""
    image: str = ""
    image_version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    runtime: str = ""
    container_id: str = ""
    """Where the cgroup's path does not tell it."""
    cut: int = 0
    """Texts that were cut, or labels left out, for their length."""


def make_details(
    name: str,
    image: str,
    labels: Mapping[str, Any],
    runtime: str = "",
    container_id: str = "",
) -> ContainerDetails:
    """Return the details, with all that is too long cut or left out."""
    image_name, image_version = split_image(image[:_MAX_TEXT_LENGTH])
    kept = _bounded_labels(labels)
    cut = sum(len(text) > _MAX_TEXT_LENGTH for text in (name, image, container_id))
    return ContainerDetails(
        name=name[:_MAX_TEXT_LENGTH],
        image=image_name,
        image_version=image_version,
        labels=kept,
        runtime=runtime,
        container_id=container_id[:_MAX_TEXT_LENGTH],
        cut=cut + len(labels) - len(kept),
    )


def nomad_labels(environment: Iterable[object]) -> dict[str, str]:
    """Return what Nomad tells a task in its environment, as the labels of its name.

    Nomad itself labels containers with no more than the allocation's id. Of the
    environment, which may hold secrets, nothing else is looked at.
    """
    labels = {}
    for variable in environment:
        name, _, value = as_text(variable).partition("=")
        if value and name in _NOMAD_VARIABLES:
            labels[_NOMAD_VARIABLES[name]] = value
    return labels


def split_image(reference: str) -> tuple[str, str]:
    """Split an image reference into name and tag; a digest alone has no tag."""
    if reference.startswith("sha256:"):
        return reference, ""
    tagged, has_digest, _ = reference.partition("@")
    name, has_tag, tag = tagged.rpartition(":")
    if has_tag and "/" not in tag:  # else the colon is before a registry's port
        return name, tag
    return tagged, "" if has_digest or not tagged else "latest"


def as_object(value: Any) -> Mapping[str, Any]:
    """Return a value of JSON if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a value of JSON if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return a value of JSON if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def _bounded_labels(labels: Mapping[str, Any]) -> Mapping[str, str]:
    """Leave out labels that are too long, and those beyond what a row can carry."""
    kept = {}
    left = _MAX_LABELS_LENGTH
    for key in sorted(
        labels, key=lambda key: (not key.startswith(_NAMING_LABELS), key)
    ):
        value = as_text(labels[key])
        length = len(json.dumps({key: value}))
        if length <= min(left, _MAX_LABEL_LENGTH):
            kept[key] = value
            left -= length
    return kept
