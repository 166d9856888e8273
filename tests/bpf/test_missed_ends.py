"""Connections whose end no program was told of are counted at the next scan."""

import socket
from collections.abc import Iterator

import pytest

from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from tests.bpf.watch import Watch
from tests.world.hosts import Host, Network
from tests.world.tcp_traffic import (
    close_connections,
    connect_in_vain,
    exchange,
    make_short_connections,
    open_connections,
    serve,
)
from tests.world.waiting import wait_until

PORT = 7511


@pytest.fixture
def host(network: Network) -> Host:
    return network.host("only")


@pytest.fixture
def watch(host: Host) -> Iterator[Watch]:
    """Only what the host's processes do, so that counts are exact."""
    with KernelSource(SourceOptions(udp=False, default_include=False)) as source:
        source.set_cgroup_verdict(host.cgroup.directory.stat().st_ino, True)
        yield Watch(source)


def missed_ends(watch: Watch) -> int:
    watch.scan()
    return watch.source.losses()["missed_ends"]


def detach(source: KernelSource) -> None:
    for program in ("tcp_state_tp_btf", "tcp_destroyed_tp_btf"):
        source._links.pop(program).close()


def test_ends_that_no_program_sees_are_counted(host: Host, watch: Watch) -> None:
    server, client = host.worker(), host.worker()
    server.call(serve, "127.0.0.1", PORT, 10, 20)
    client.call(make_short_connections, "127.0.0.1", PORT, 30, 10, 20)
    client.call(open_connections, "127.0.0.1", PORT, 7)
    client.call(exchange, 1, 10, 20)
    assert missed_ends(watch) == 0
    detach(watch.source)
    client.call(close_connections)
    wait_until(lambda: missed_ends(watch) == 14, 10, watch.source.losses)
    assert missed_ends(watch) == 14


def test_what_ends_as_it_should_is_not_missed(host: Host, watch: Watch) -> None:
    server, client = host.worker(), host.worker()
    server.call(serve, "127.0.0.1", PORT, 10, 20)
    client.call(open_connections, "127.0.0.1", PORT, 5)
    for _ in range(20):
        client.call(make_short_connections, "127.0.0.1", PORT, 50, 10, 20)
        assert missed_ends(watch) == 0
    client.call(connect_in_vain, "127.0.0.1", PORT + 1, 10)
    client.call(close_connections)
    watch.wait_closed(PORT, 1005)
    assert missed_ends(watch) == 0


def test_adopted_connections_that_end_are_not_missed(host: Host) -> None:
    server, client = host.worker(), host.worker()
    server.call(serve, "127.0.0.1", PORT, 10, 20)
    client.call(open_connections, "127.0.0.1", PORT, 5)
    client.call(exchange, 1, 10, 20)
    with KernelSource(SourceOptions(udp=False, default_include=False)) as source:
        source.set_cgroup_verdict(host.cgroup.directory.stat().st_ino, True)
        watch = Watch(source)
        watch.adopt()
        assert missed_ends(watch) == 0
        client.call(close_connections)
        wait_until(lambda: len(watch.drain()) >= 16, 10)  # a listener among them
        assert missed_ends(watch) == 0


def test_an_end_is_told_while_its_file_stays_open(host: Host, watch: Watch) -> None:
    worker = host.worker()
    worker.call(open_and_be_reset, PORT)
    wait_until(lambda: len(watch.drain()) > 0, 10)
    watch.wait_closed(PORT, 1)
    assert missed_ends(watch) == 0


_kept: list[socket.socket] = []


def open_and_be_reset(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        _kept.append(socket.create_connection(("127.0.0.1", port)))
        accepted, _ = listener.accept()
        # No lingering: close sends a reset.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        accepted.close()
