"""The programs in the kernel, two processes beside them, and what both say."""

from __future__ import annotations

import itertools
import os
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ebpf_net.collectors.kernel.cgroup_tree import find_cgroup_root
from ebpf_net.collectors.kernel.source import KernelSource
from tests.bpf.watch import Totals, Watch
from tests.world.workers import Worker

_ports = itertools.count(20_001)
_sockets: list[socket.socket] = []
_SO_ATTACH_FILTER = 26
_RETURN_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)


def next_port() -> int:
    """A port that no other check uses."""
    return next(_ports)


def make_worker(cgroup: Path | None = None) -> Worker:
    """A process in this network namespace."""
    return Worker(cgroup or find_cgroup_root(), Path("/proc/self/ns/net"))


class OwnWatch(Watch):
    """Leaves out what happens in other network namespaces."""

    @property
    def records(self) -> Any:
        records = super().records
        return records[records["netns"] == Path("/proc/self/ns/net").stat().st_ino]


@dataclass
class Scene:
    """What a check has at hand."""

    source: KernelSource
    server: Worker
    client: Worker
    cgroup: Path
    old_port: int
    """Has a server, and a connection of the client's that is older than the source."""
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = OwnWatch(self.source)

    def processes(self, port: int) -> dict[str, list[int]]:
        """Who is at each end of connections to the port."""
        records = self.watch.records
        ends = {
            "server": records[(records["local_port"] == port)],
            "client": records[(records["remote_port"] == port)],
        }
        return {name: _values(end, "pid") for name, end in ends.items()}

    def read_udp(self, port: int) -> dict[str, dict[str, Any]]:
        """Sums at both ends of what went to the port since the last read."""
        keys, values = self.source.read_udp()
        ends = {"server": keys["local_port"] == port}
        ends["client"] = keys["remote_port"] == port
        return {name: _sum_udp(values[chosen]) for name, chosen in ends.items()}


def _values(records: Any, name: str) -> list[int]:
    return sorted(set(records[name].tolist()))


def _sum_udp(values: Any) -> dict[str, Any]:
    sums: dict[str, Any] = {
        name: int(values[name].sum())
        for name in (
            "bytes_sent",
            "bytes_received",
            "datagrams_sent",
            "datagrams_received",
        )
    }
    return sums | {
        "drops": values["drops"].sum(axis=0).tolist(),
        "pids": _values(values, "pid"),
    }


def volume(totals: Totals) -> dict[str, int]:
    """The numbers that loopback cannot change."""
    names = ("opened", "closed", "failed", "bytes_sent", "bytes_received")
    return {name: getattr(totals, name) for name in names}


def connect_in_vain(address: str, port: int, count: int) -> None:
    """Connect where nobody listens."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(count):
        with socket.socket(family) as client:
            client.connect_ex((address, port))


def listen(address: str, port: int) -> None:
    """Keep a listener that ``accept_and_reset`` takes from."""
    _sockets.append(socket.create_server((address, port)))


def accept_and_reset() -> None:
    """Take one connection and end it by a reset."""
    connection, _ = _sockets[-1].accept()
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


def connect_and_wait_for_the_reset(address: str, port: int) -> str:
    """Connect and read; return the name of the error."""
    try:
        with socket.create_connection((address, port), 30) as connection:
            connection.recv(1)
    except OSError as error:  # the connect can be the one that tells of it
        return type(error).__name__
    return ""


def bind_with_a_filter(address: str, port: int) -> None:
    """Keep a UDP socket whose filter takes nothing."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    instructions = np.frombuffer(_RETURN_NOTHING, np.uint8).copy()
    program = struct.pack("HxxxxxxQ", 1, instructions.ctypes.data)
    server.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    server.bind((address, port))
    _sockets.append(server)


def make_cgroup() -> Path:
    """A cgroup of its own below the root."""
    directory = find_cgroup_root() / f"ebpf-net-kernels-{os.getpid()}"
    directory.mkdir()
    return directory
