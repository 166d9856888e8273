"""Totals are exact while scans and closing sockets race, or what is lost is told."""

import multiprocessing
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np
import pytest

from ebpf_net.collectors.kernel.records import TcpFlag
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from tests.bpf.watch import Watch
from tests.world.hosts import Network
from tests.world.tcp_traffic import make_short_connections
from tests.world.tcp_traffic import serve as serve_requests
from tests.world.waiting import wait_until

Counts = tuple[int, int]
CONNECTIONS = 2500
CONTEXT = multiprocessing.get_context("fork")


def serve(listener: socket.socket, results: SimpleQueue[Counts]) -> None:
    received = sent = 0
    for _ in range(CONNECTIONS):
        connection, _ = listener.accept()
        header = connection.recv(8, socket.MSG_WAITALL)
        wanted = int.from_bytes(header[:4], "big")
        reply = int.from_bytes(header[4:], "big")
        received += 8
        end = received + wanted
        while received < end:
            received += len(connection.recv(1 << 16))
        connection.sendall(bytes(reply))
        sent += reply
        # Half of the connections are closed by the client first.
        if reply % 2:
            assert connection.recv(1) == b""
        connection.close()
    results.put((sent, received))


def connect(port: int, seed: int, results: SimpleQueue[Counts]) -> None:
    choose = random.Random(seed)
    sent = received = 0
    for _ in range(CONNECTIONS):
        request = choose.choice((0, 1, 100, 5000, 200_000))
        reply = choose.choice((0, 1, 777, 100_001))
        connection = socket.create_connection(("127.0.0.1", port))
        header = request.to_bytes(4, "big") + reply.to_bytes(4, "big")
        connection.sendall(header + bytes(request))
        sent += 8 + request
        end = received + reply
        while received < end:
            received += len(connection.recv(1 << 16))
        if reply % 2 == 0:
            assert connection.recv(1) == b""
        connection.close()
    results.put((sent, received))


@contextmanager
def traffic(pairs: int) -> Iterator[tuple[list[int], list[object], object, object]]:
    at_clients, at_servers = CONTEXT.SimpleQueue(), CONTEXT.SimpleQueue()
    ports, processes, listeners = [], [], []
    for seed in range(pairs):
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        listeners.append(listener)
        ports.append(listener.getsockname()[1])
        for target, arguments in (
            (serve, (listener, at_servers)),
            (connect, (ports[-1], seed, at_clients)),
        ):
            processes.append(CONTEXT.Process(target=target, args=arguments))
    yield ports, processes, at_clients, at_servers
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("ring_bytes", [8 << 20, 64 << 20])
def test_continuous_scans_repeat_nothing_and_tell_what_is_lost(ring_bytes: int) -> None:
    options = SourceOptions(udp=False, ring_bytes=ring_bytes)
    with KernelSource(options) as source, traffic(3) as running:
        ports, processes, at_clients, at_servers = running
        watch = Watch(source)
        for process in processes:
            process.start()
        scans = 0
        while any(process.is_alive() for process in processes):
            watch.scan()
            scans += 1
        sent, received = map(sum, zip(*(at_clients.get() for _ in ports), strict=True))
        served = tuple(map(sum, zip(*(at_servers.get() for _ in ports), strict=True)))

        def closed() -> int:
            records = watch.drain()
            mine = np.isin(records["remote_port"], ports)
            mine |= np.isin(records["local_port"], ports)
            return int(((records["flags"][mine] & TcpFlag.CLOSED) != 0).sum())

        def told() -> str:
            return f"{closed()} closed, {source.losses()}, {source.skipped_runs(True)}"

        def missed() -> int:
            watch.scan()
            return source.losses()["missed_ends"]

        def all_known() -> bool:
            lacking = 6 * CONNECTIONS - closed()
            return lacking == 0 or missed() >= lacking

        wait_until(all_known, 60, told)
        lacking = 6 * CONNECTIONS - closed()
        clients = [watch.client(port) for port in ports]
        servers = [watch.server(port) for port in ports]
        lost = {
            "sent": sent - sum(end.bytes_sent for end in clients),
            "received": received - sum(end.bytes_received for end in clients),
            "served": served[0] - sum(end.bytes_sent for end in servers),
            "taken": served[1] - sum(end.bytes_received for end in servers),
        }
        assert min(lost.values()) >= 0
        if not lacking:
            assert not any(lost.values()), lost
        opened = sum(end.opened for end in clients + servers)
        assert 0 <= 6 * CONNECTIONS - opened <= lacking
        assert source.losses()["ring_full"] == 0
        assert scans > 10


def test_a_full_ring_is_counted_to_the_byte(network: Network) -> None:
    host = network.host("only")
    worker = host.worker()
    options = SourceOptions(udp=False, ring_bytes=1 << 14, default_include=False)
    with KernelSource(options) as source:
        source.set_cgroup_verdict(host.cgroup.directory.stat().st_ino, True)
        worker.call(serve_requests, "127.0.0.1", 7501, 10, 20)
        worker.call(make_short_connections, "127.0.0.1", 7501, 300, 10, 20)
        wait_until(lambda: source.losses()["ring_full"] >= 400, 10, source.losses)
        watch = Watch(source)

        def all_known() -> bool:
            return len(watch.drain()) + source.losses()["ring_full"] == 600

        wait_until(all_known, 10, source.losses)
        payload = watch.client(7501).bytes_sent + watch.client(7501).bytes_received
        payload += watch.server(7501).bytes_sent + watch.server(7501).bytes_received
        assert len(watch.records) > 50
        assert payload + source.losses()["ring_full_bytes"] == 600 * 30
