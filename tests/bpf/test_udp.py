import os
import socket
from typing import Any

import numpy as np
import pytest

from ebpf_net.collectors.kernel.records import TcpRole, UdpDrop
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from tests.bpf.watch import Watch
from tests.world.hosts import Network
from tests.world.udp_traffic import (
    bind_without_reading,
    count_readable,
    exchange_datagrams,
    read_served_udp,
    send_datagrams,
    serve_udp,
)

UDP_SEGMENT = 103


def udp_socket(family: socket.AddressFamily, address: str) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.bind((address, 0))
    return made


def read(watch: Watch, port: int) -> tuple[Any, Any, Any, Any]:
    """Keys and values at the local end of a port, and at the ends that speak to it."""
    keys, values = watch.source.read_udp()
    local, remote = keys["local_port"] == port, keys["remote_port"] == port
    return keys[local], values[local], keys[remote], values[remote]


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_both_ends_count_payload(
    watch: Watch, family: socket.AddressFamily, address: str
) -> None:
    with udp_socket(family, address) as server, udp_socket(family, address) as client:
        port = server.getsockname()[1]
        client.sendto(bytes(1000), server.getsockname())
        client.sendto(b"", server.getsockname())
        server.recv(2000)
        server.recv(2000)
        server.sendto(bytes(7), client.getsockname())
        client.recv(10)
        keys, (at_server,), _, (at_client,) = read(watch, port)
    assert (at_server["bytes_received"], at_server["datagrams_received"]) == (1000, 2)
    assert (at_server["bytes_sent"], at_server["datagrams_sent"]) == (7, 1)
    assert (at_client["bytes_sent"], at_client["datagrams_sent"]) == (1000, 2)
    assert (at_client["bytes_received"], at_client["datagrams_received"]) == (7, 1)
    assert at_server["role"] == TcpRole.SERVER
    assert at_client["role"] == TcpRole.CLIENT
    assert at_server["pid"] == at_client["pid"] == os.getpid()
    assert at_server["netns"] == os.stat("/proc/self/ns/net").st_ino
    assert bytes(keys[0]["local_address"]).endswith(socket.inet_pton(family, address))


def test_each_window_starts_anew(watch: Watch) -> None:
    with (
        udp_socket(socket.AF_INET, "127.0.0.1") as server,
        udp_socket(socket.AF_INET, "127.0.0.1") as client,
    ):
        port = server.getsockname()[1]
        for size in (3, 5, 8):
            client.sendto(bytes(size), server.getsockname())
            _, (at_server,), _, _ = read(watch, port)
            assert at_server["bytes_received"] == size
        assert len(read(watch, port)[0]) == 0


def test_segmentation_offload_counts_each_datagram(watch: Watch) -> None:
    with (
        udp_socket(socket.AF_INET, "127.0.0.1") as server,
        udp_socket(socket.AF_INET, "127.0.0.1") as client,
    ):
        port = server.getsockname()[1]
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        client.sendto(bytes(10_500), server.getsockname())
        _, (at_server,), _, (at_client,) = read(watch, port)
    assert (at_client["bytes_sent"], at_client["datagrams_sent"]) == (10_500, 11)
    assert (at_server["bytes_received"], at_server["datagrams_received"]) == (
        10_500,
        11,
    )


def test_fragmented_datagram_is_one(watch: Watch, network: Network) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    server.call(serve_udp, right.address, 7301, 9000)
    client.call(exchange_datagrams, [left.address], right.address, 7301, 5, 20_000)
    _, (at_server,), _, (at_client,) = read(watch, 7301)
    assert (at_server["bytes_received"], at_server["datagrams_received"]) == (
        100_000,
        5,
    )
    assert (at_client["bytes_received"], at_client["datagrams_received"]) == (45_000, 5)
    assert at_server["cgroup_id"] == right.cgroup.directory.stat().st_ino


def test_full_receive_buffer_drops_are_not_received(
    watch: Watch, network: Network
) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    server.call(bind_without_reading, right.address, 7302, 20_000)
    client.call(send_datagrams, right.address, 7302, 500, 800)
    accepted = server.call(count_readable)
    _, (at_server,), _, (at_client,) = read(watch, 7302)
    assert 0 < accepted < 500
    assert at_client["datagrams_sent"] == 500
    assert at_server["datagrams_received"] == accepted
    assert at_server["bytes_received"] == accepted * 800
    assert at_server["drops"][UdpDrop.RECEIVE_BUFFER] == 500 - accepted


def test_one_socket_with_thousands_of_peers(watch: Watch, network: Network) -> None:
    left, right = network.host("left"), network.host("right")
    sources = left.add_addresses(4000)
    server, client = right.worker(), left.worker()
    server.call(serve_udp, right.address, 7303, 31)
    sent = client.call(exchange_datagrams, sources, right.address, 7303, 2, 17)
    served = server.call(read_served_udp)
    keys, at_server, _, at_client = read(watch, 7303)
    assert len(served) == len(keys) == 4000
    found = {
        socket.inet_ntoa(bytes(key["remote_address"])[12:]): value
        for key, value in zip(keys, at_server, strict=True)
    }
    for peer, counts in served.items():
        assert found[peer]["bytes_received"] == counts.bytes_received
        assert found[peer]["datagrams_sent"] == counts.sent
    assert at_client["bytes_sent"].sum() == sent.bytes_sent == 4000 * 2 * 17
    assert len(np.unique(keys["cookie"])) == 1


def test_a_full_map_is_counted_to_the_byte(network: Network) -> None:
    host = network.host("only")
    sources = [f"127.0.1.{number}" for number in range(1, 201)]
    worker = host.worker()
    options = SourceOptions(tcp=False, udp_peers=64, default_include=False)
    with KernelSource(options) as source:
        source.set_cgroup_verdict(host.cgroup.directory.stat().st_ino, True)
        worker.call(serve_udp, "127.0.0.1", 7305, 7)
        worker.call(exchange_datagrams, sources, "127.0.0.1", 7305, 1, 5)
        _, values = source.read_udp()
        losses = source.losses()
    datagrams = values["datagrams_sent"].sum() + values["datagrams_received"].sum()
    payload = values["bytes_sent"].sum() + values["bytes_received"].sum()
    assert losses["udp_map_full"] > 0
    assert datagrams + losses["udp_map_full"] == 200 * 4
    assert payload + losses["udp_map_full_bytes"] == 200 * 2 * (5 + 7)


def test_older_socket_has_its_owner_after_adoption() -> None:
    with (
        udp_socket(socket.AF_INET, "127.0.0.1") as server,
        udp_socket(socket.AF_INET, "127.0.0.1") as client,
        KernelSource(SourceOptions(tcp=False)) as source,
    ):
        source.adopt()
        client.sendto(b"x", server.getsockname())
        _, at_server, _, at_client = read(Watch(source), server.getsockname()[1])
        assert at_server[0]["pid"] == at_client[0]["pid"] == os.getpid()
        assert at_server[0]["netns"] == os.stat("/proc/self/ns/net").st_ino


def test_udp_is_not_touched_without_the_option() -> None:
    with KernelSource(SourceOptions(udp=False)) as source:
        assert not any(signal.name.startswith("udp") for signal in source.signals)
        with udp_socket(socket.AF_INET, "127.0.0.1") as server:
            server.sendto(b"x", server.getsockname())
        assert len(source.read_udp()[0]) == 0


def test_reading_while_datagrams_flow_loses_none(
    watch: Watch, network: Network
) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    server.call(serve_udp, right.address, 7304, 11)
    running = client.submit(
        exchange_datagrams, [left.address] * 3, right.address, 7304, 8000, 13
    )
    parts = []
    while not running.done():
        parts.append(read(watch, 7304))
    parts.append(read(watch, 7304))
    sent = running.result()
    at_server = np.concatenate([part[1] for part in parts])
    at_client = np.concatenate([part[3] for part in parts])
    assert at_client["datagrams_sent"].sum() == sent.sent == 24_000
    assert at_client["bytes_received"].sum() == sent.bytes_received
    assert at_server["bytes_received"].sum() == sent.bytes_sent
    assert at_server["datagrams_sent"].sum() == sent.received
    assert len(parts) > 3


def test_copies_for_raw_sockets_do_not_count(watch: Watch) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw,
        udp_socket(socket.AF_INET, "127.0.0.1") as server,
        udp_socket(socket.AF_INET, "127.0.0.1") as client,
    ):
        raw.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        client.sendto(b"x", server.getsockname())
        assert len(server.recv(2)) == 1
        assert raw.recv(100).endswith(b"x")
        _, (at_server,), _, (at_client,) = read(watch, port)
    assert (at_server["bytes_received"], at_server["bytes_sent"]) == (1, 0)
    assert (at_client["bytes_sent"], at_client["bytes_received"]) == (1, 0)


def test_a_reply_before_adoption_does_not_make_a_server_a_client() -> None:
    with udp_socket(socket.AF_INET, "127.0.0.1") as chosen:
        address = chosen.getsockname()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(address)  # the port that a program asks for is a server's
        client.sendto(b"request", server.getsockname())
        _, peer = server.recvfrom(10)
        with KernelSource(SourceOptions(tcp=False)) as source:
            server.sendto(b"reply", peer)
            source.adopt()
            watch, port = Watch(source), server.getsockname()[1]
            read(watch, port)
            client.sendto(b"request", server.getsockname())
            _, (at_server,), _, (at_client,) = read(watch, port)
    assert at_server["role"] == TcpRole.SERVER
    assert at_client["role"] == TcpRole.CLIENT
