"""What the path of a cgroup says about the container, pod or service in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ID = r"[0-9a-f]{64}"
_RUNTIMES = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "crio",
    "libpod": "podman",
    "libpod-payload": "podman",
}
_PREFIXES = "|".join(_RUNTIMES)
# docker-ID.scope, crio-ID, kubepods-podUID.slice:cri-containerd:ID ...; a monitor's
# crio-conmon-ID.scope is none of these.
_NAMED = re.compile(rf"(?:.*:)?({_PREFIXES})[-:]({_ID})(?:\.scope)?")
_BARE = re.compile(_ID)
_FARGATE = re.compile(r"[0-9a-f]{32}-[0-9]+")
_POD = re.compile(
    r"(?:.*-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
    r"(?:\.slice)?(?::.*)?"
)
_SERVICE = ".service"
# Names that containerd takes for a container, but no unit of systemd.
_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*")
_MAX_NAME_LENGTH = 76
_UNITS = (_SERVICE, ".slice", ".scope", ".mount", ".socket", ".swap")


@dataclass(frozen=True)
class CgroupIdentity:
    """Columns of ``schema.CGROUPS`` that follow from the path."""

    runtime: str = ""
    container_id: str = ""
    pod_uid: str = ""
    service: str = ""


def identify_cgroup(path: str) -> CgroupIdentity:
    """Say what lives in a cgroup. The innermost container, pod and service count."""
    parts = path.split("/")
    runtime = container_id = service = pod_uid = ""
    for position in range(len(parts) - 1, -1, -1):
        part = parts[position]
        if not pod_uid:
            pod_uid = _pod_uid(part)
        if container_id:
            continue  # the services around a container are not in it
        runtime, container_id = _container(part, parts[max(0, position - 2) : position])
        if not service and part.endswith(_SERVICE):
            service = part.removesuffix(_SERVICE)
    return CgroupIdentity(runtime, container_id, pod_uid, service)


def may_be_container(path: str) -> bool:
    """Say whether a cgroup without a container's id may be one by another name."""
    identity = identify_cgroup(path)
    name = path.rpartition("/")[2]
    return (
        identity == CgroupIdentity()
        and len(name) <= _MAX_NAME_LENGTH
        and not name.endswith(_UNITS)
        and _NAME.fullmatch(name) is not None
    )


def _container(part: str, parents: list[str]) -> tuple[str, str]:
    named = _NAMED.fullmatch(part)
    if named:
        return _RUNTIMES[named[1]], named[2]
    if _BARE.fullmatch(part):
        return ("docker" if "docker" in parents[-1:] or "ecs" in parents else ""), part
    if _FARGATE.fullmatch(part) and "ecs" in parents:
        return "", part
    return "", ""


def _pod_uid(part: str) -> str:
    pod = _POD.fullmatch(part)
    return pod[1].replace("_", "-") if pod else ""
