"""Resets that answer segments for which there is no socket."""

import errno
import socket
from pathlib import Path

import pytest

from ebpf_net.collectors.kernel.records import TcpRole
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from tests.bpf.watch import Watch, is_client, totals
from tests.world.hosts import Network


def connect_in_vain(address: str, port: int, count: int) -> int:
    """Return how many connects were refused."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    refused = 0
    for _ in range(count):
        with socket.socket(family) as client:
            refused += client.connect_ex((address, port)) == errno.ECONNREFUSED
    return refused


def read_resets() -> int:
    """Tcp OutRsts of this network namespace."""
    lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(dict(zip(names, values, strict=True))["OutRsts"])


def read_netns() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_connects_to_a_closed_port_are_resets_at_the_server(
    watch: Watch, network: Network, family: str
) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    address = right.address if family == "IPv4" else right.address6
    assert client.call(connect_in_vain, address, 7401, 40) == 40
    records = watch.drain()
    refused = records[(records["local_port"] == 7401) & ~is_client(records)]
    told = totals(refused)
    assert len(refused) == told.resets_sent == server.call(read_resets) == 40
    assert (told.segments_sent, told.segments_received) == (40, 40)
    assert (told.opened, told.closed, told.failed) == (0, 0, 0)
    assert set(refused["role"].tolist()) == {TcpRole.SERVER}
    assert set(refused["netns"].tolist()) == {server.call(read_netns)}
    kind = socket.AF_INET if family == "IPv4" else socket.AF_INET6
    local, remote = refused["local_address"], refused["remote_address"]
    size = 4 if family == "IPv4" else 16
    sender = left.address if family == "IPv4" else left.address6
    assert socket.inet_ntop(kind, bytes(local[0])[-size:]) == address
    assert socket.inet_ntop(kind, bytes(remote[0])[-size:]) == sender
    at_client = watch.client(7401)
    assert (at_client.failed, at_client.resets_received) == (40, 40)


def test_resets_without_a_socket_belong_to_no_cgroup_that_is_wanted() -> None:
    options = SourceOptions(udp=False, default_include=False)
    with KernelSource(options) as source:
        assert connect_in_vain("127.0.0.1", 1, 3) == 3
        records = source.drain()
    assert not (records["local_port"] == 1).any()
