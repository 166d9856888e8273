"""The collector's loop over the real kernel: sockets in, batches out."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.hosts import HostLabels, read_host
from ebpf_net.collectors.kernel.cgroup_tree import find_cgroup_root
from ebpf_net.collectors.kernel.collector import CollectorOptions, KernelCollector
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from ebpf_net.intake.batch import Batch, BatchKind
from ebpf_net.intake.decode import decode_tables
from ebpf_net.schema import ConnectFailure, Protocol, Role, Sample
from tests.world.waiting import wait_until

NAMES = ("bytes_sent", "bytes_received", "opened", "closed")


class Running:
    """A collector in a thread, and what it sent."""

    def __init__(self, source: KernelSource, **options: Any) -> None:
        self.batches: list[Batch] = []
        self.collector = KernelCollector(
            source,
            SystemClock(),
            CollectorOptions(
                host=read_host(HostLabels()), interval_seconds=0.5, **options
            ),
            self.batches.append,
        )
        self._thread = threading.Thread(target=self.collector.run)

    def start(self) -> None:
        self._thread.start()
        wait_until(lambda: len(self.batches) > 0, 10, lambda: self.batches)

    def stop(self) -> None:
        self.collector.stop()
        self._thread.join()  # a second time does nothing

    def rows(self, **wanted: int) -> list[dict[str, int]]:
        return [
            row
            for batch in self.batches
            for row in decode_tables(batch.body)["edges"].to_pylist()
            if all(row[name] == value for name, value in wanted.items())
        ]

    def totals(self, **wanted: int) -> dict[str, int]:
        rows = self.rows(**wanted)
        return {name: sum(row[name] for row in rows) for name in NAMES}

    def samples(self, kind: Sample, **wanted: int) -> dict[int, int]:
        counts: dict[int, int] = {}
        for batch in self.batches:
            tables = decode_tables(batch.body)
            edges = tables["edges"].to_pylist()
            for sample in tables["edge_samples"].to_pylist():
                edge = edges[sample["edge"]]
                if sample["kind"] == kind and wanted.items() <= edge.items():
                    bucket = sample["bucket"]
                    counts[bucket] = counts.get(bucket, 0) + sample["count"]
        return counts


@contextlib.contextmanager
def running(**options: Any) -> Iterator[Running]:
    with KernelSource(SourceOptions()) as source:
        run = Running(source, **options)
        run.start()
        try:
            yield run
        finally:
            run.stop()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


def connect(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(listener.getsockname())
    return client, listener.accept()[0]


def receive(end: socket.socket, count: int) -> None:
    while count:
        count -= len(end.recv(count))


def exchange(ends: tuple[socket.socket, socket.socket], up: int, down: int) -> None:
    client, server = ends
    client.sendall(bytes(up))
    receive(server, up)
    server.sendall(bytes(down))
    receive(client, down)


def close(ends: tuple[socket.socket, socket.socket]) -> None:
    for end in ends:
        end.close()


def test_short_connections_are_counted_to_the_byte(listener: socket.socket) -> None:
    port = port_of(listener)
    with running() as run:
        for number in range(300):
            ends = connect(listener)
            exchange(ends, number, 1000 + number)
            close(ends)
    up, down = sum(range(300)), sum(range(1000, 1300))
    client, server = (
        {"role": Role.CLIENT, "remote_port": port, "local_port": 0},
        {"role": Role.SERVER, "local_port": port, "remote_port": 0},
    )
    assert run.totals(**client) == dict(zip(NAMES, (up, down, 300, 300), strict=True))
    assert run.totals(**server) == dict(zip(NAMES, (down, up, 300, 300), strict=True))
    assert sum(run.samples(Sample.RTT, **client).values()) == 300
    assert sum(run.samples(Sample.CONNECT_DURATION, **client).values()) == 300
    assert sum(run.samples(Sample.CONNECT_DURATION, **server).values()) == 0
    assert run.rows(**client)[-1]["open"] == 0


def test_connections_from_before_are_open_but_not_new(listener: socket.socket) -> None:
    port = port_of(listener)
    ends = connect(listener)
    exchange(ends, 5, 6)
    with running() as run:
        assert [row["open"] for row in run.rows(local_port=port, role=Role.SERVER)] == [
            1
        ]
        exchange(ends, 70, 800)
        close(ends)
    assert run.totals(local_port=port, role=Role.SERVER) == {
        "bytes_sent": 800,
        "bytes_received": 70,
        "opened": 0,
        "closed": 1,
    }
    assert run.totals(remote_port=port, role=Role.CLIENT) == {
        "bytes_sent": 70,
        "bytes_received": 800,
        "opened": 0,
        "closed": 1,
    }


def test_an_idle_connection_is_in_every_window(listener: socket.socket) -> None:
    port = port_of(listener)
    ends = connect(listener)
    with running() as run:
        wait_until(lambda: len(run.batches) >= 4, 10, lambda: run.batches)
    open_at = [row["open"] for row in run.rows(remote_port=port, role=Role.CLIENT)]
    assert open_at == [1] * len(run.batches)
    close(ends)


def test_refused_connects_are_counted_by_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = port_of(closed)
    with running() as run:
        for _ in range(7):
            with socket.socket() as client, pytest.raises(ConnectionRefusedError):
                client.connect(("127.0.0.1", port))
    edge = {"remote_port": port, "role": int(Role.CLIENT)}
    assert sum(row["connect_failures"] for row in run.rows(**edge)) == 7
    assert run.samples(Sample.CONNECT_FAILURE, **edge) == {ConnectFailure.REFUSED: 7}
    assert run.totals(**edge)["opened"] == 0


def test_datagrams_are_counted_to_the_byte() -> None:
    with (
        running() as run,
        socket.socket(type=socket.SOCK_DGRAM) as server,
        socket.socket(type=socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        port = port_of(server)
        for number in range(200):
            client.sendto(bytes(number), server.getsockname())
            _, address = server.recvfrom(1000)
            server.sendto(bytes(10), address)
            client.recv(1000)
    edge = {"protocol": Protocol.UDP, "role": Role.SERVER, "local_port": port}
    assert run.totals(**edge)["bytes_received"] == sum(range(200))
    assert run.totals(**edge)["bytes_sent"] == 2000
    assert sum(row["packets_received"] for row in run.rows(**edge)) == 200


def test_loopback_is_left_out_when_asked(listener: socket.socket) -> None:
    with running(leave_out_loopback=True) as run:
        ends = connect(listener)
        exchange(ends, 10, 10)
        close(ends)
    assert run.rows(local_port=port_of(listener)) == []
    assert run.batches[-1].header.status["filtered.records"] >= 2


def test_the_process_is_named_with_its_program(listener: socket.socket) -> None:
    with running() as run:
        close(connect(listener))
    snapshot = run.collector.snapshot()
    assert snapshot.header.kind is BatchKind.SNAPSHOT
    processes = decode_tables(snapshot.body)["processes"].to_pylist()
    (own,) = [row for row in processes if row["pid"] == os.getpid()]
    assert own["executable"] == os.readlink("/proc/self/exe")
    (row, *_) = run.rows(local_port=port_of(listener), role=Role.SERVER)
    assert row["process_id"] == own["process_id"]


_CONNECT_IN_CGROUP = """
import os, socket, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))
with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as client:
    client.sendall(bytes(100))
"""


@contextlib.contextmanager
def made_cgroup(name: str) -> Iterator[Path]:
    path = find_cgroup_root() / f"collector-loop-{os.getpid()}" / name
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        path.rmdir()
        with contextlib.suppress(OSError):
            path.parent.rmdir()


@pytest.mark.parametrize("late", [False, True])
def test_only_wanted_cgroups_are_collected(listener: socket.socket, late: bool) -> None:
    port = port_of(listener)
    with contextlib.ExitStack() as stack:
        wanted = "*/wanted*"
        parent = stack.enter_context(made_cgroup("parent"))
        if late:
            run = stack.enter_context(running(include_cgroup=(wanted,)))
        paths = [stack.enter_context(made_cgroup(name)) for name in ("wanted1", "not")]
        if not late:
            run = stack.enter_context(running(include_cgroup=(wanted,)))
        for path in [*paths, parent]:
            arguments = [sys.executable, "-c", _CONNECT_IN_CGROUP, str(path), str(port)]
            subprocess.run(arguments, check=True, timeout=60)
            listener.accept()[0].close()
        number = paths[0].stat().st_ino
        run.stop()
    rows = run.rows(remote_port=port) + run.rows(local_port=port)
    assert {row["cgroup_id"] for row in rows} == {number}
    assert run.totals(cgroup_id=number)["bytes_sent"] == 100
