"""Builders of the kernel's records, a source that replays them, and a clock to turn."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.probes import Signal
from ebpf_net.collectors.kernel.records import TCP_RECORD, UDP_KEY, UDP_VALUE
from ebpf_net.collectors.kernel.source import KernelSource

Records = npt.NDArray[Any]

SECOND_NS = 1_000_000_000
NETNS = 4_026_531_840
EMPTY_TCP = np.empty(0, TCP_RECORD)
EMPTY_UDP = np.empty(0, UDP_KEY), np.empty(0, UDP_VALUE)


def address_bytes(address: str) -> list[int]:
    """Return an address as the kernel's programs write it: 16 bytes."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        parsed = ipaddress.IPv6Address(f"::ffff:{address}")
    return list(parsed.packed)


def tcp_records(*rows: Mapping[str, Any]) -> Records:
    """Return records of one host's client sockets, each but for what its row says."""
    records = np.zeros(len(rows), TCP_RECORD)
    for number, row in enumerate(rows):
        fields: dict[str, Any] = {
            "time_ns": SECOND_NS + number,
            "cookie": number + 1,
            "cgroup_id": 7,
            "owner_start_ns": 5 * SECOND_NS,
            "local_address": "10.0.0.1",
            "remote_address": "10.0.0.2",
            "comm": b"curl",
            "netns": NETNS,
            "pid": 100,
            "local_port": 40_000,
            "remote_port": 443,
            "role": 1,
        }
        _fill(records[number], fields | dict(row))
    return records


def udp_records(*rows: Mapping[str, Any]) -> tuple[Records, Records]:
    """Return keys and values of one host's UDP clients, but for what rows say."""
    keys = np.zeros(len(rows), UDP_KEY)
    values = np.zeros(len(rows), UDP_VALUE)
    for number, row in enumerate(rows):
        fields: dict[str, Any] = {
            "cookie": number + 1,
            "local_address": "10.0.0.1",
            "remote_address": "10.0.0.2",
            "local_port": 40_000,
            "remote_port": 53,
            "cgroup_id": 7,
            "owner_start_ns": 5 * SECOND_NS,
            "comm": b"dig",
            "netns": NETNS,
            "pid": 100,
            "role": 1,
        }
        fields |= row
        for target in (keys[number], values[number]):
            names = target.dtype.names or ()
            _fill(target, {name: fields[name] for name in names if name in fields})
    return keys, values


class TurnedClock:
    """A clock that stands still until it is turned."""

    def __init__(self, wall_ns: int) -> None:
        self.wall = wall_ns
        self.monotonic = SECOND_NS

    def wall_ns(self) -> int:
        """Return Unix time."""
        return self.wall

    def monotonic_ns(self) -> int:
        """Return a time that ``step`` does not touch."""
        return self.monotonic

    def advance(self, nanoseconds: int) -> None:
        """Let time pass."""
        self.wall += nanoseconds
        self.monotonic += nanoseconds

    def step(self, nanoseconds: int) -> None:
        """Set the wall clock."""
        self.wall += nanoseconds


class ReplayedSource(KernelSource):
    """A kernel source that gives what a test put in; each ``wait`` passes its time."""

    def __init__(self, clock: TurnedClock) -> None:
        self.signals = (
            Signal("tcp", "tp_btf/inet_sock_set_state", "TCP"),
            Signal("drop_reasons", "", "reasons"),
        )
        self._clock = clock
        self.adopted = EMPTY_TCP
        self.ring: deque[Records] = deque()
        self.scans: deque[Records] = deque()
        self.udp: deque[tuple[Records, Records]] = deque()
        self.recount = EMPTY_TCP
        self.lost: dict[str, int] = {"ring_full": 0, "storage_full": 0}
        self.verdicts: dict[int, bool] = {}
        self.closed = False

    def adopt(self) -> Records:
        """Return ``adopted``."""
        return self.adopted

    def drain(self) -> Records:
        """Return the next of ``ring``."""
        return self.ring.popleft() if self.ring else EMPTY_TCP

    def wait(self, timeout_ms: int) -> bool:
        """Let the time-out pass."""
        self._clock.advance(timeout_ms * 1_000_000)
        return bool(self.ring)

    def scan(self) -> Records:
        """Return the next of ``scans``, and what the ring holds."""
        held: Iterable[Records] = self.ring
        records = [*held, self.scans.popleft() if self.scans else EMPTY_TCP]
        self.ring.clear()
        return np.concatenate(records)

    def recount_open(self) -> tuple[Records, Records]:
        """Return ``recount``; the ring is empty after a scan."""
        return self.recount, EMPTY_TCP

    def read_udp(self) -> tuple[Records, Records]:
        """Return the next of ``udp``."""
        return self.udp.popleft() if self.udp else EMPTY_UDP

    def losses(self) -> dict[str, int]:
        """Return ``lost`` as it is now."""
        return dict(self.lost)

    def set_cgroup_verdict(self, cgroup_id: int, include: bool) -> None:
        """Note the verdict."""
        self.verdicts[cgroup_id] = include

    def forget_cgroup(self, cgroup_id: int) -> None:
        """Forget the verdict."""
        self.verdicts.pop(cgroup_id, None)

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def _fill(target: Any, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        is_address = name in ("local_address", "remote_address")
        target[name] = address_bytes(value) if is_address else value
