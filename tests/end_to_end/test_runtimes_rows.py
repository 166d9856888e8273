"""Rows of the reference table about containers of real runtimes, to the last column."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.world import tcp_traffic
from tests.world.busybox_image import IMAGE
from tests.world.containerd import Containerd
from tests.world.containers import Container
from tests.world.docker import Docker
from tests.world.hosts import Host, Network
from tests.world.podman import Podman
from tests.world.waiting import wait_until

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.hosts import HostLabels, read_host
from ebpf_net.collectors.kernel.collector import CollectorOptions, KernelCollector
from ebpf_net.collectors.kernel.container_runtimes import RuntimeSockets
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from ebpf_net.intake.batch import Batch
from ebpf_net.intake.decode import decode_tables

REQUEST, REPLY, COUNT = 100, 900, 50
UID = "5b2c1d3e-4f50-6172-8394-a5b6c7d8e9f0"
POD_LABELS = {
    "io.kubernetes.container.name": "app",
    "io.kubernetes.pod.name": "web-0",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": UID,
}


class Running:
    """A collector in a thread, and what it sent."""

    def __init__(self, source: KernelSource, options: CollectorOptions) -> None:
        self.batches: list[Batch] = []
        self.collector = KernelCollector(
            source, SystemClock(), options, self.batches.append
        )
        self._thread = threading.Thread(target=self.collector.run)
        self._thread.start()
        wait_until(lambda: len(self.batches) > 0, 10)

    def stop(self) -> None:
        self.collector.stop()
        self._thread.join()  # a second time does nothing

    def rows_of(self, container: Container) -> list[dict[str, Any]]:
        """Return the rows of the container's cgroup, as they changed."""
        number = container.cgroup_id
        return [
            row
            for batch in self.batches
            for row in decode_tables(batch.body).get("cgroups", _NONE).to_pylist()
            if row["cgroup_id"] == number
        ]

    def bytes_of(self, container: Container) -> tuple[int, int, int]:
        """Return bytes sent, bytes received and connections of the cgroup's edges."""
        edges = [
            row
            for batch in self.batches
            for row in decode_tables(batch.body)["edges"].to_pylist()
            if row["cgroup_id"] == container.cgroup_id
        ]
        names = ("bytes_sent", "bytes_received", "opened")
        sent, received, opened = (sum(row[name] for row in edges) for name in names)
        return sent, received, opened


class _Nothing:
    def to_pylist(self) -> list[dict[str, Any]]:
        return []


_NONE: Any = _Nothing()


@contextlib.contextmanager
def running(
    include: str, host_dir: Path | None = None, **sockets: Path
) -> Iterator[Running]:
    places = {name: (path,) for name, path in sockets.items()}
    options = CollectorOptions(
        host=read_host(HostLabels()),
        interval_seconds=0.5,
        include_cgroup=(include,),
        container_sockets=RuntimeSockets(**places),
        host_dir=host_dir,
    )
    with KernelSource(SourceOptions(default_include=False)) as source:
        run = Running(source, options)
        try:
            yield run
        finally:
            run.stop()


def connect_from(container: Container, server: Host) -> None:
    """Let the container make connections to a server and read all replies."""
    serving, inside = server.worker(), container.worker()
    serving.call(tcp_traffic.serve, "0.0.0.0", 5000, REQUEST, REPLY)
    inside.call(
        *(tcp_traffic.make_short_connections, server.address, 5000),
        *(COUNT, REQUEST, REPLY),
    )
    inside.close()


def described(container: Container, **columns: str) -> dict[str, Any]:
    """Return the row that a container of the tests' image must have."""
    image = {"image": IMAGE, "image_version": "1.0"}
    names = {"container_id": container.identity, "container_name": container.name}
    whence = {"cgroup_id": container.cgroup_id, "path": container.cgroup}
    rest = {"pod_uid": "", "service": "", "labels": "{}", "removed": False}
    return {**whence, **names, **image, **rest, **columns}


def named_row(run: Running, container: Container) -> dict[str, Any]:
    wait_until(lambda: any(row["image"] for row in run.rows_of(container)), 20)
    return last_row(run, container)


def last_row(run: Running, container: Container) -> dict[str, Any]:
    run.stop()
    row = run.rows_of(container)[-1]
    assert run.bytes_of(container) == (COUNT * REQUEST, COUNT * REPLY, COUNT)
    return row


def test_a_container_of_docker(network: Network) -> None:
    node, server = network.host("node"), network.host("server")
    with Docker(node) as docker, running(node.cgroup.path, docker=docker.socket) as run:
        container = docker.run("web", labels={"tier": "front"})
        connect_from(container, server)
        row = named_row(run, container)
        assert row == described(
            container,
            runtime="docker",
            image="ebpf-net-test",
            labels='{"tier": "front"}',
        )


def test_a_container_of_podman_below_the_hosts_directory(
    network: Network, tmp_path: Path
) -> None:
    node, server = network.host("node"), network.host("server")
    usual = Path("/run/podman/podman.sock")
    inside = tmp_path / usual.relative_to("/")
    inside.parent.mkdir(parents=True)
    with Podman(node) as podman:
        inside.symlink_to(podman.socket)
        with running(node.cgroup.path, tmp_path, podman=usual) as run:
            container = podman.run("web", labels={"tier": "front"})
            connect_from(container, server)
            row = named_row(run, container)
            labels = '{"tier": "front"}'
            assert row == described(container, runtime="podman", labels=labels)


def test_a_container_of_podman_without_its_api(network: Network) -> None:
    node, server = network.host("node"), network.host("server")
    with (
        Podman(node) as podman,
        running(node.cgroup.path, podman=podman.storage) as run,
    ):
        container = podman.run("web", labels={"tier": "front"})
        connect_from(container, server)
        row = named_row(run, container)
        assert row == described(container, runtime="podman")


def test_a_container_of_ctr_whose_id_is_a_name(network: Network) -> None:
    node, server = network.host("node"), network.host("server")
    with Containerd(node) as containerd:
        include = f"/{containerd.namespace}/web"
        with running(include, containerd=containerd.socket) as run:
            container = containerd.run("web", labels={"tier": "front"})
            connect_from(container, server)
            row = named_row(run, container)
            labels = json.loads(row["labels"])
            assert labels["tier"] == "front"
            assert row == described(
                container, runtime="containerd", labels=row["labels"]
            )


@pytest.mark.parametrize("runtime", ["containerd", "crio"])
def test_a_container_of_a_pod(network: Network, runtime: str) -> None:
    """By containerd's own API, and by the CRI that it and CRI-O speak."""
    node, server = network.host("node"), network.host("server")
    with (
        Containerd(node) as containerd,
        running(node.cgroup.path, **{runtime: containerd.socket}) as run,
    ):
        container = containerd.run_pod("web-0", UID, "app")
        connect_from(container, server)
        row = named_row(run, container)
        labels = json.loads(row["labels"])
        assert POD_LABELS.items() <= labels.items()
        assert row == described(
            container, runtime=runtime, pod_uid=UID, labels=row["labels"]
        )


def test_runtimes_that_hang_delay_nothing(
    network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    node, server = network.host("node"), network.host("server")
    with Podman(node) as podman, contextlib.ExitStack() as stack:
        names = ("docker", "containerd", "crio", "podman")
        sockets = {name: Path(podman.socket.parent, f"{name}-2.sock") for name in names}
        for path in sockets.values():
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.bind(str(path))
            silent.listen()
        with running(node.cgroup.path, **sockets) as run:
            container = podman.run("web")
            connect_from(container, server)
            wait_until(lambda: run.rows_of(container), 10)
            wait_until(lambda: caplog.records, 20)  # the time for an answer is over
            stopping = time.monotonic()
            row = last_row(run, container)
            assert time.monotonic() - stopping < 3
            assert row == described(
                container,
                runtime="podman",
                container_name="",
                image="",
                image_version="",
            )
        windows = [
            (batch.header.window_start_ns, batch.header.window_end_ns)
            for batch in run.batches
        ]
        for (_, end), (start, _) in itertools.pairwise(windows):
            assert start == end  # none was left out
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith("podman cannot be asked for names of containers: timed")
