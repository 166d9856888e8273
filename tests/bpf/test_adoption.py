import os
import socket
from pathlib import Path

import numpy as np

from ebpf_net.collectors.kernel.cgroup_tree import find_cgroup_root
from ebpf_net.collectors.kernel.records import TcpFlag, TcpRole
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from tests.bpf.watch import Watch, totals
from tests.world.hosts import Network
from tests.world.tcp_info import read_tcp_info
from tests.world.tcp_traffic import (
    close_connections,
    exchange,
    open_connections,
    read_client_info,
    read_server_info,
    serve,
)
from tests.world.waiting import wait_until

IPPROTO_MPTCP = 262


def own_cgroup_id() -> int:
    path = Path("/proc/self/cgroup").read_text().splitlines()[-1].split("::")[-1]
    return (find_cgroup_root(None) / path.lstrip("/")).stat().st_ino


def test_open_sockets_are_adopted_with_their_owners(network: Network) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    server.call(serve, right.address, 7201, 500, 900)
    client.call(open_connections, right.address, 7201, 40)
    client.call(exchange, 3, 500, 900)
    wait_until(lambda: not server.call(read_server_info).unacked, 10)
    client_before = client.call(read_client_info)
    server_before = server.call(read_server_info)
    with KernelSource(SourceOptions(udp=False)) as source:
        watch = Watch(source)
        adopted = watch.adopt()
        at_client = adopted[adopted["remote_port"] == 7201]
        at_server = adopted[
            (adopted["local_port"] == 7201) & (adopted["role"] == TcpRole.UNKNOWN)
        ]
        (listener,) = adopted[
            (adopted["local_port"] == 7201) & (adopted["role"] == TcpRole.LISTENER)
        ]
        assert len(np.unique(at_client["cookie"])) == len(at_client) == 40
        assert len(np.unique(at_server["cookie"])) == len(at_server) == 40
        assert (at_client["flags"] == TcpFlag.ADOPTED).all()
        assert set(at_client["pid"]) == {client.pid}
        assert set(at_server["pid"]) == {listener["pid"]} == {server.pid}
        assert set(at_server["cgroup_id"]) == {right.cgroup.directory.stat().st_ino}

        client.call(exchange, 5, 500, 900)
        wait_until(lambda: not server.call(read_server_info).unacked, 10)
        client_after = client.call(read_client_info)
        server_after = server.call(read_server_info)
        watch.scan()
        for records, before, after in (
            (watch.records["remote_port"] == 7201, client_before, client_after),
            (watch.records["local_port"] == 7201, server_before, server_after),
        ):
            found = totals(watch.records[records])
            assert found.opened == 0
            assert found.bytes_sent == after.bytes_sent - before.bytes_sent
            assert found.bytes_received == after.bytes_received - before.bytes_received
            assert found.segments_sent == after.segments_sent - before.segments_sent
        client.call(close_connections)
        watch.drain()
        client_end = totals(watch.records[watch.records["remote_port"] == 7201])
        assert client_end.bytes_sent == 40 * 5 * 500
        assert client_end.bytes_received == 40 * 5 * 900


def test_adopted_listener_gives_its_owner_to_later_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with KernelSource(SourceOptions(udp=False)) as source:
            watch = Watch(source)
            watch.adopt()
            socket.create_connection(("127.0.0.1", port)).close()
            listener.accept()[0].close()
            watch.wait_closed(port, 1)
            (server,) = watch.records[
                (watch.records["local_port"] == port)
                & (watch.records["role"] == TcpRole.SERVER)
            ]
            assert server["pid"] == os.getpid()


def test_half_closed_socket_keeps_its_payload_exact() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = listener.accept()
    client.sendall(b"before")
    client.shutdown(socket.SHUT_WR)
    assert server.recv(10, socket.MSG_WAITALL) == b"before"
    with KernelSource(SourceOptions(udp=False)) as source:
        watch = Watch(source)
        watch.adopt()
        server.sendall(b"after")
        assert read_tcp_info(server).bytes_received == 7  # with the FIN
        server.close()
        assert client.recv(10, socket.MSG_WAITALL) == b"after"
        client.close()
        watch.scan()
        at_client = totals(watch.records[watch.records["remote_port"] == port])
        at_server = totals(watch.records[watch.records["local_port"] == port])
        assert (at_client.bytes_sent, at_client.bytes_received) == (0, 5)
        assert (at_server.bytes_sent, at_server.bytes_received) == (5, 0)
        assert at_client.closed == at_server.closed == 1


def test_more_sockets_than_the_ring_holds_are_adopted() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=2000) as listener:
        port = listener.getsockname()[1]
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(1500)]
        servers = [listener.accept()[0] for _ in clients]
    with KernelSource(SourceOptions(udp=False, ring_bytes=1 << 16)) as source:
        adopted = source.adopt()
        at_client = adopted[adopted["remote_port"] == port]
        at_server = adopted[
            (adopted["local_port"] == port) & (adopted["role"] == TcpRole.UNKNOWN)
        ]
        assert len(at_client) == len(at_server) == 1500
        assert len(np.unique(at_client["cookie"])) == 1500
        for each in clients:
            each.sendall(b"123")
        scanned = source.scan()
        sent = scanned[scanned["remote_port"] == port]
        assert sent["bytes_sent"].sum() == 4500
        assert len(source.recount_open()[0]) >= 3000
        assert source.losses()["ring_full"] == 0
    for each in clients + servers:
        each.close()


def test_listener_for_mptcp_is_told_with_its_owner() -> None:
    """Programs written in Go listen so by default."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with KernelSource(SourceOptions(udp=False)) as source:
            adopted = source.adopt()
            (record,) = adopted[
                (adopted["local_port"] == port) & (adopted["role"] == TcpRole.LISTENER)
            ]
    assert record["pid"] == os.getpid()
    assert record["flags"] == TcpFlag.ADOPTED


def test_datagrams_sent_before_the_filter_was_told_do_not_exclude_a_socket() -> None:
    number = own_cgroup_id()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        KernelSource(SourceOptions(default_include=False)) as source,
    ):
        receiver.bind(("127.0.0.1", 0))
        sender.sendto(b"x" * 100, receiver.getsockname())
        source.set_cgroup_verdict(number, True)
        source.adopt()
        sender.sendto(b"x" * 100, receiver.getsockname())
        keys, values = source.read_udp()
        sent = values[keys["remote_port"] == receiver.getsockname()[1]]
    assert sent["bytes_sent"].sum() == 100


def test_a_raw_socket_for_tcp_is_no_connection() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.connect(("127.0.0.3", 0))  # the kernel calls it established, too
        with KernelSource(SourceOptions(udp=False)) as source:
            records = Watch(source).adopt()
            address = socket.inet_aton("127.0.0.3")
            remote = [bytes(each)[12:] for each in records["remote_address"]]
            assert address not in remote
