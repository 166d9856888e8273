"""The container runtimes of this host: which of them is asked about a container.

Each is asked in a thread of its own: one that hangs keeps no other from answering.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ebpf_net.collectors.kernel import docker, podman
from ebpf_net.collectors.kernel.container_api import Answer, ContainerApi
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
)
from ebpf_net.collectors.kernel.unix_socket import socket_places

_STOP_SECONDS = 1.0

CONTAINERD_SOCKETS = (
    Path("/run/containerd/containerd.sock"),
    Path("/run/k3s/containerd/containerd.sock"),
    Path("/run/k0s/containerd.sock"),
    Path("/var/snap/microk8s/common/run/containerd.sock"),
)


@dataclass(frozen=True)
class RuntimeSockets:
    """Where the runtimes' sockets may be; a runtime without any is not asked."""

    docker: tuple[Path, ...] = ()
    containerd: tuple[Path, ...] = ()
    crio: tuple[Path, ...] = ()
    podman: tuple[Path, ...] = ()


class ContainerRuntimes:
    """Takes questions of the main loop and has their answers some time later."""

    def __init__(self, sockets: RuntimeSockets, host_dir: Path | None = None) -> None:
        self._apis: Mapping[str, ContainerApi] = {
            name: ContainerApi(name, socket_places(paths, host_dir), fetch)
            for name, paths, fetch in (
                ("docker", sockets.docker, docker.fetch_details),
                ("containerd", sockets.containerd, _fetch_containerd_details),
                ("crio", sockets.crio, _fetch_crio_details),
                ("podman", sockets.podman, podman.fetch_details),
            )
        }

    def stop(self) -> None:
        """Stop asking; a runtime that hangs is not waited for."""
        for api in self._apis.values():
            api.stop()
        deadline = time.monotonic() + _STOP_SECONDS
        for api in self._apis.values():
            api.join(max(0.0, deadline - time.monotonic()))

    def ask(self, question: ContainerQuestion) -> None:
        """Ask the runtime that the cgroup's path names, or all if it names none."""
        if question.runtime in self._apis:
            self._apis[question.runtime].ask(question)
        elif not question.container_id:
            self._apis["containerd"].ask(question)  # others' ids are in the path
        else:
            for api in self._apis.values():
                api.ask(question)

    def wait_answers(self, timeout_seconds: float) -> None:
        """Wait until new questions were tried; not for a runtime that is not well."""
        deadline = time.monotonic() + timeout_seconds
        for api in self._apis.values():
            api.wait_answers(max(0.0, deadline - time.monotonic()))

    def take_answers(self) -> list[Answer]:
        """Return what was answered since the last call."""
        return [answer for api in self._apis.values() for answer in api.take_answers()]

    def status(self) -> dict[str, int]:
        """Return what failed, was given up or cut, by runtime, and what is lost."""
        counts = {
            f"{name}.{what}": count
            for name, api in self._apis.items()
            for what, count in (
                ("failures", api.failures),
                ("dropped", api.dropped),
                ("cut", api.cut),
            )
        }
        not_all_asked = sum(api.not_all_asked for api in self._apis.values())
        return counts | {"lost.containerd_namespaces_limit": not_all_asked}


def _fetch_containerd_details(
    socket_path: Path, question: ContainerQuestion, timeout_seconds: float
) -> ContainerDetails | None:
    from ebpf_net.collectors.kernel import (  # noqa: PLC0415 - HTTP/2 costs 2 MB,
        containerd,  # which a host without containerd need not hold
    )

    return containerd.fetch_details(socket_path, question, timeout_seconds)


def _fetch_crio_details(
    socket_path: Path, question: ContainerQuestion, timeout_seconds: float
) -> ContainerDetails | None:
    from ebpf_net.collectors.kernel import cri  # noqa: PLC0415 - as above

    return cri.fetch_details(socket_path, question, timeout_seconds)
