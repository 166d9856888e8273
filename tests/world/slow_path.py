"""A path of known delay and loss between two hosts, through a TUN device on each.

Kernels without netem have TUN, and here each lost packet is known: the path drops the
first sending of every ``nth`` data segment in each direction, never a retransmission.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import selectors
import struct
import threading
import time
from dataclasses import dataclass, field

from tests.world.hosts import Host
from tests.world.workers import Worker, enter_netns

_TUNSETIFF = 0x400454CA
_IFF_TUN_WITHOUT_HEADER = 0x1001
_PACKET_BYTES = 65_536


@dataclass
class _Path:
    """Packets on their way from one device to the other."""

    source: int
    dest: int
    delay_seconds: float
    drop_every: int
    dropped: int = 0
    segments: int = 0
    highest: dict[bytes, int] = field(default_factory=dict)

    def loses(self, packet: bytes) -> bool:
        """Tell whether this is a new data segment whose turn it is."""
        if not self.drop_every or packet[9] != 6:
            return False
        header = (packet[0] & 0xF) * 4
        sequence = int.from_bytes(packet[header + 4 : header + 8])
        payload = len(packet) - header - (packet[header + 12] >> 4) * 4
        flow = packet[12:20] + packet[header : header + 4]
        if payload == 0 or sequence < self.highest.get(flow, 0):
            return False
        self.highest[flow] = sequence + payload
        self.segments += 1
        if self.segments % self.drop_every:
            return False
        self.dropped += 1
        return True


_paths: list[_Path] = []


def open_path(left: str, right: str, delay_seconds: float, drop_every: int) -> None:
    """Make ``wan0`` in both network namespaces and carry packets; for a Worker."""
    devices = []
    for netns in (left, right):
        enter_netns(netns)
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH22x", b"wan0", _IFF_TUN_WITHOUT_HEADER)
        fcntl.ioctl(device, _TUNSETIFF, request)
        devices.append(device)
    forth, back = devices
    _paths.append(_Path(forth, back, delay_seconds, drop_every))
    _paths.append(_Path(back, forth, delay_seconds, drop_every))
    threading.Thread(target=_carry, daemon=True).start()


def read_dropped() -> int:
    """Return how many segments the path dropped so far."""
    return sum(path.dropped for path in _paths)


def _carry() -> None:
    selector = selectors.DefaultSelector()
    for path in _paths:
        selector.register(path.source, selectors.EVENT_READ, path)
    order = itertools.count()
    waiting: list[tuple[float, int, int, bytes]] = []
    while True:
        pause = waiting[0][0] - time.monotonic() if waiting else None
        ready = selector.select(pause) if pause is None or pause > 0 else ()
        for key, _ in ready:
            path: _Path = key.data
            packet = os.read(path.source, _PACKET_BYTES)
            if packet[0] >> 4 == 4 and not path.loses(packet):
                due = time.monotonic() + path.delay_seconds
                heapq.heappush(waiting, (due, next(order), path.dest, packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, device, packet = heapq.heappop(waiting)
            os.write(device, packet)


@dataclass(frozen=True)
class SlowPath:
    """The addresses of both hosts on the path, and its count of losses."""

    left_address: str
    right_address: str
    worker: Worker

    def read_dropped(self) -> int:
        return self.worker.call(read_dropped)


def join_by_slow_path(
    left: Host, right: Host, delay_seconds: float, drop_every: int
) -> SlowPath:
    """Join two hosts by such a path; the delay is of one way."""
    carrier = left.worker()
    carrier.call(open_path, left.netns, right.netns, delay_seconds, drop_every)
    for host, address in ((left, "10.88.0.1"), (right, "10.88.0.2")):
        host.ip("address", "add", f"{address}/24", "dev", "wan0")
        host.ip("link", "set", "wan0", "mtu", "1500", "up")
    return SlowPath("10.88.0.1", "10.88.0.2", carrier)
