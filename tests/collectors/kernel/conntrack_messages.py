"""Messages of conntrack's netlink, as the kernel writes them."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

NEW = 0x100  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW
IN_DUMP = 2  # NLM_F_MULTI
DONE = 3
TCP, UDP = 6, 17


@dataclass(frozen=True)
class Packet:
    """A packet's ends: ``1.2.3.4 5`` each."""

    source: str
    dest: str
    protocol: int = TCP

    def reply(self) -> Packet:
        """Return the packet that answers it."""
        return Packet(self.dest, self.source, self.protocol)


def message(before: Packet, after: Packet, flags: int = 0) -> bytes:
    """Return the event of a connection whose packets a namespace changes so."""
    body = struct.pack("=BBH", 2, 0, 0)
    body += _nested(1, _tuple(before)) + _nested(2, _tuple(after.reply()))
    body += _attribute(3, struct.pack(">I", 0x10))
    return struct.pack("=IHHII", 16 + len(body), NEW, flags, 0, 0) + body


def end_of_dump() -> bytes:
    """Return what ends a dump."""
    return struct.pack("=IHHIIi", 20, DONE, 0, 0, 0, 0)


def _tuple(packet: Packet) -> bytes:
    ends = [packet.source.split(), packet.dest.split()]
    packed = [ipaddress.ip_address(address).packed for address, _ in ends]
    first = 1 if len(packed[0]) == 4 else 3
    addresses = _attribute(first, packed[0]) + _attribute(first + 1, packed[1])
    ports = _attribute(1, bytes([packet.protocol]))
    for number, (_, port) in enumerate(ends, 2):
        ports += _attribute(number, struct.pack(">H", int(port)))
    return _nested(1, addresses) + _nested(2, ports)


def _attribute(kind: int, value: bytes) -> bytes:
    padding = bytes(-len(value) % 4)
    return struct.pack("=HH", 4 + len(value), kind) + value + padding


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind | 0x8000, value)
