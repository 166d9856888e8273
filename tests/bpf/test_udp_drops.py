"""Datagrams that are dropped before their program gets them, by reason."""

import fcntl
import socket
import struct

import numpy as np
import pytest

from ebpf_net.collectors.kernel.records import UDP_VALUE, TcpRole, UdpDrop
from tests.bpf.test_udp import read
from tests.bpf.watch import Watch
from tests.world.hosts import Network
from tests.world.udp_traffic import bind_without_reading, count_readable
from tests.world.waiting import wait_until

SIOCETHTOOL = 0x8946
ETHTOOL_SRXCSUM = 0x15
SO_ATTACH_FILTER = 26
RETURN_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)

_kept: list[object] = []


def verify_checksums(interface: str) -> None:
    """Make the device look at each packet's checksum, as one without offload."""
    setting = np.array([ETHTOOL_SRXCSUM, 0], np.uint32)
    request = struct.pack("16sQ16x", interface.encode(), setting.ctypes.data)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCETHTOOL, request)


def send_wrong_checksums(address: str, port: int, count: int, size: int) -> None:
    """Send datagrams whose UDP checksum is 0x1234, from port 40000."""
    header = struct.pack("!HHHH", 40_000, port, 8 + size, 0x1234)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        for _ in range(count):
            raw.sendto(header + bytes(size), (address, 0))


def send_wrong_checksums6(address: str, port: int, count: int, size: int) -> None:
    header = struct.pack("!HHHH", 40_000, port, 8 + size, 0x1234)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        for _ in range(count):
            raw.sendto(header + bytes(size), (address, 0))


def send_from_40000(address: str, port: int, count: int, size: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("", 40_000))
        for _ in range(count):
            client.sendto(bytes(size), (address, port))


def bind_with_a_filter(address: str, port: int) -> None:
    """Open a socket that takes nothing."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    instructions = np.frombuffer(RETURN_NOTHING, np.uint8).copy()
    program = struct.pack("HxxxxxxQ", 1, instructions.ctypes.data)
    server.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    server.bind((address, port))
    _kept.append(server)


def read_checksum_errors() -> int:
    """Udp InCsumErrors and Udp6InCsumErrors of this network namespace."""
    return _read_errors("/proc/thread-self/net/snmp") + _read_errors6()


def _read_errors(path: str) -> int:
    with open(path) as file:
        names, values = (line.split()[1:] for line in file if line.startswith("Udp:"))
    return int(dict(zip(names, values, strict=True))["InCsumErrors"])


def _read_errors6() -> int:
    with open("/proc/thread-self/net/snmp6") as file:
        lines = dict(line.split() for line in file)
    return int(lines["Udp6InCsumErrors"])


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_wrong_checksums_of_short_datagrams_are_drops(
    watch: Watch, network: Network, family: str
) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    server.call(verify_checksums, right.interface)
    if family == "IPv4":
        address, send = right.address, send_wrong_checksums
    else:
        address, send = right.address6, send_wrong_checksums6
    server.call(bind_without_reading, address, 7310, 200_000)
    client.call(send, address, 7310, 25, 40)
    wait_until(lambda: server.call(read_checksum_errors) == 25, 10)
    keys, values, _, _ = read(watch, 7310)
    assert values["drops"].sum(axis=0).tolist() == [0, 0, 25, 0]
    assert values["datagrams_received"].sum() == 0
    assert set(keys["remote_port"].tolist()) == {40_000}
    assert set(values["role"].tolist()) == {TcpRole.SERVER}
    assert set(values["netns"].tolist()) == {server.call(own_netns)}


def own_netns() -> int:
    import os  # noqa: PLC0415

    return os.stat("/proc/thread-self/ns/net").st_ino


def test_wrong_checksums_of_long_datagrams_are_drops_once_they_are_read(
    watch: Watch, network: Network
) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    server.call(verify_checksums, right.interface)
    server.call(bind_without_reading, right.address, 7311, 200_000)
    client.call(send_wrong_checksums, right.address, 7311, 7, 1000)
    client.call(send_from_40000, right.address, 7311, 3, 1000)
    assert server.call(count_readable) == 3
    assert server.call(read_checksum_errors) == 7
    _, values, _, _ = read(watch, 7311)
    assert values["drops"].sum(axis=0).tolist() == [0, 0, 7, 0]
    # The kernel looked at them after they had been received.
    assert values["datagrams_received"].sum() == 10


def test_what_a_filter_of_the_socket_refuses_is_a_drop(
    watch: Watch, network: Network
) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    server.call(bind_with_a_filter, right.address, 7312)
    client.call(send_from_40000, right.address, 7312, 11, 300)
    _, (value,), _, (at_client,) = read(watch, 7312)
    assert at_client["datagrams_sent"] == 11
    assert value["drops"][UdpDrop.OTHER] == 11
    assert value["drops"].sum() == 11
    assert (value["datagrams_received"], value["bytes_received"]) == (0, 0)


def test_a_full_queue_is_told_by_one_reason_only(
    watch: Watch, network: Network
) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    server.call(verify_checksums, right.interface)
    server.call(bind_without_reading, right.address, 7313, 20_000)
    client.call(send_from_40000, right.address, 7313, 300, 800)
    client.call(send_wrong_checksums, right.address, 7313, 20, 10)
    wait_until(lambda: server.call(read_checksum_errors) == 20, 10)
    accepted = server.call(count_readable)
    _, values, _, _ = read(watch, 7313)
    assert values.dtype == UDP_VALUE
    assert 0 < accepted < 300
    assert values["drops"].sum(axis=0).tolist() == [300 - accepted, 0, 20, 0]
    assert values["datagrams_received"].sum() == accepted
