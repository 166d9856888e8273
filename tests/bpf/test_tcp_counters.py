import os
import socket
from contextlib import suppress

import numpy as np
import pytest

from ebpf_net.collectors.kernel.records import TcpFlag, TcpRole
from tests.bpf.watch import Watch
from tests.world.hosts import Network
from tests.world.slow_path import join_by_slow_path
from tests.world.tcp_info import read_tcp_info
from tests.world.tcp_traffic import (
    close_connections,
    exchange,
    make_short_connections,
    open_connections,
    read_client_info,
    read_server_info,
    serve,
)
from tests.world.waiting import wait_until


def connect(family: socket.AddressFamily, address: str) -> list[socket.socket]:
    with socket.create_server((address, 0), family=family) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        server, _ = listener.accept()
    return [client, server]


LOOPBACKS = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


@pytest.mark.parametrize(("family", "address"), LOOPBACKS)
def test_short_connection_is_one_record_at_each_end(
    watch: Watch, family: socket.AddressFamily, address: str
) -> None:
    client, server = connect(family, address)
    port = server.getsockname()[1]
    client.sendall(bytes(1000))
    assert server.recv(2000, socket.MSG_WAITALL | socket.MSG_DONTWAIT)
    server.sendall(bytes(70))
    assert len(client.recv(70, socket.MSG_WAITALL)) == 70
    client.close()
    server.close()
    watch.wait_closed(port, 1)
    (sent,) = watch.records[watch.records["remote_port"] == port]
    (received,) = watch.records[watch.records["local_port"] == port]
    assert (sent["bytes_sent"], sent["bytes_received"]) == (1000, 70)
    assert (received["bytes_sent"], received["bytes_received"]) == (70, 1000)
    assert sent["role"] == TcpRole.CLIENT
    assert received["role"] == TcpRole.SERVER
    assert sent["flags"] == received["flags"] == TcpFlag.OPENED | TcpFlag.CLOSED
    assert sent["connect_us"] > 0
    assert sent["pid"] == received["pid"] == os.getpid()
    assert sent["netns"] == os.stat("/proc/self/ns/net").st_ino
    expected = socket.inet_pton(family, address)
    if family == socket.AF_INET:
        expected = bytes(10) + b"\xff\xff" + expected
    assert bytes(sent["local_address"]) == expected
    assert bytes(sent["remote_address"]) == expected


def test_ipv4_through_an_ipv6_socket_has_mapped_addresses(watch: Watch) -> None:
    with socket.create_server(
        ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
    ) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = listener.accept()
    client.close()
    server.close()
    watch.wait_closed(port, 1)
    (received,) = watch.records[watch.records["local_port"] == port]
    mapped = bytes(10) + b"\xff\xff\x7f\0\0\1"
    assert bytes(received["local_address"]) == mapped
    assert bytes(received["remote_address"]) == mapped


def test_live_sockets_are_as_tcp_info_says(watch: Watch) -> None:
    client, server = connect(socket.AF_INET, "127.0.0.1")
    port = server.getsockname()[1]
    for size in (1, 10, 100_000):
        client.sendall(bytes(size))
        assert len(server.recv(size, socket.MSG_WAITALL)) == size
        server.sendall(bytes(size // 2 + 1))
        client.recv(size // 2 + 1, socket.MSG_WAITALL)
        watch.scan()
    wait_until(lambda: not read_tcp_info(server).unacked, 10)
    watch.scan()
    for end, role in ((client, watch.client), (server, watch.server)):
        info = read_tcp_info(end)
        found = role(port)
        assert found.bytes_sent == info.bytes_sent
        assert found.bytes_received == info.bytes_received
        assert found.segments_sent == info.segments_sent
        assert found.segments_received == info.segments_received
        assert (found.opened, found.closed) == (1, 0)
    client.close()
    server.close()


def test_idle_socket_has_no_second_record(watch: Watch) -> None:
    client, server = connect(socket.AF_INET, "127.0.0.1")
    port = server.getsockname()[1]
    client.sendall(b"x")
    server.recv(1)
    watch.scan()
    before = watch.server(port)
    count = len(watch.records[watch.records["local_port"] == port])
    watch.scan()
    assert watch.server(port) == before
    assert len(watch.records[watch.records["local_port"] == port]) == count
    client.close()
    server.close()


def test_fin_is_not_payload_while_half_closed(watch: Watch) -> None:
    client, server = connect(socket.AF_INET, "127.0.0.1")
    port = server.getsockname()[1]
    client.sendall(b"12345")
    client.shutdown(socket.SHUT_WR)
    assert server.recv(10, socket.MSG_WAITALL) == b"12345"
    watch.scan()
    assert watch.client(port).bytes_sent == 5
    assert watch.server(port).bytes_received == 5
    server.sendall(b"678")
    server.close()
    assert client.recv(10, socket.MSG_WAITALL) == b"678"
    client.close()
    watch.wait_closed(port, 1)
    assert watch.client(port).bytes_received == 3
    assert watch.server(port).bytes_sent == 3


def test_sequence_numbers_may_wrap(watch: Watch) -> None:
    client, server = connect(socket.AF_INET, "127.0.0.1")
    port = server.getsockname()[1]
    piece, pieces = bytes(1 << 20), 4200
    buffer = bytearray(1 << 20)
    server.setblocking(False)
    client.setblocking(False)
    sent = received = 0
    while received < len(piece) * pieces:
        with suppress(BlockingIOError):
            if sent < len(piece) * pieces:
                sent += client.send(piece[: len(piece) * pieces - sent])
        with suppress(BlockingIOError):
            received += server.recv_into(buffer)
    watch.scan()
    assert watch.client(port).bytes_sent == len(piece) * pieces
    assert watch.server(port).bytes_received == len(piece) * pieces
    client.close()
    server.close()
    watch.wait_closed(port, 1)
    assert watch.client(port).bytes_sent == len(piece) * pieces


def test_connection_that_is_never_accepted_counts(watch: Watch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"abc")
        watch.scan()
        assert watch.server(port).opened == 1
        assert watch.server(port).bytes_received == 3
    client.close()
    watch.wait_closed(port, 1)
    assert watch.server(port).resets_sent == 1
    assert watch.client(port).resets_received == 1


def test_recount_names_each_open_connection_once(watch: Watch) -> None:
    pairs = [connect(socket.AF_INET, "127.0.0.1") for _ in range(300)]
    ports = [pair[1].getsockname()[1] for pair in pairs]
    watch.scan()
    found, held = watch.source.recount_open()
    mine = found[np.isin(found["local_port"], ports)]
    assert len(mine) == 300
    assert not mine["bytes_sent"].any()
    assert not np.isin(held["local_port"], ports).any()
    for client, server in pairs[:100]:
        client.close()
        server.close()
    found, _ = watch.source.recount_open()
    assert np.isin(found["local_port"], ports).sum() == 200
    for client, server in pairs[100:]:
        client.close()
        server.close()


def test_connections_of_other_network_namespaces_count(
    watch: Watch, network: Network
) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    server.call(serve, "::", 7001, 100, 2000)
    client.call(make_short_connections, right.address6, 7001, 200, 100, 2000)
    watch.wait_closed(7001, 200)
    assert watch.client(7001).bytes_sent == watch.server(7001).bytes_received == 20000
    assert watch.client(7001).bytes_received == 400_000
    records = watch.records[watch.records["remote_port"] == 7001]
    assert set(records["netns"]) == {os.stat(f"/run/netns/{left.netns}").st_ino}
    assert set(records["cgroup_id"]) == {left.cgroup.directory.stat().st_ino}
    assert set(records["pid"]) == {client.pid}


def test_retransmits_on_a_lossy_path_are_as_tcp_info_says(
    watch: Watch, network: Network
) -> None:
    left, right = network.host("left"), network.host("right")
    path = join_by_slow_path(left, right, 0.005, 20)
    server, client = right.worker(), left.worker()
    server.call(serve, path.right_address, 7002, 1000, 30_000)
    client.call(open_connections, path.right_address, 7002, 3)
    client.call(exchange, 20, 1000, 30_000)
    # The last acknowledgement may be lost, and data be sent once more.
    wait_until(lambda: not client.call(read_client_info).unacked, 10)
    wait_until(lambda: not server.call(read_server_info).unacked, 10)
    at_client = client.call(read_client_info)
    at_server = server.call(read_server_info)
    watch.scan()
    assert path.read_dropped() > 0
    assert at_server.retransmits > 0
    # TCP_INFO has a SYN or SYN-ACK that was sent again among the retransmits.
    client_end, server_end = watch.client(7002), watch.server(7002)
    assert client_end.retransmits + client_end.syn_timeouts == at_client.retransmits
    assert server_end.retransmits + server_end.syn_timeouts == at_server.retransmits
    assert watch.client(7002).bytes_sent == 60_000
    assert watch.server(7002).bytes_sent == 1_800_000
    assert watch.client(7002).bytes_received == 1_800_000
    mine = watch.records["netns"] == os.stat(f"/run/netns/{left.netns}").st_ino
    live = watch.records[mine & (watch.records["remote_port"] == 7002)]
    assert len(live) >= 3
    assert (live["min_rtt_us"] >= 10_000).all()
    client.call(close_connections)
    watch.wait_closed(7002, 3)
    assert watch.client(7002).bytes_sent == 60_000
