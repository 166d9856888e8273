"""What went over the wire, by sequence number: a witness that no counter made.

Between the SYN and the FIN of one side its sequence number grows by its payload and
one, whatever was sent again or merged on the way. Functions for a Worker.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from dataclasses import dataclass

_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_FIN, _SYN, _ACK = 0x01, 0x02, 0x10

# IPv4, TCP, and SYN, FIN or RST: else nothing is kept.
_FILTER = (
    (0x28, 0, 0, 12), (0x15, 0, 6, 0x800), (0x30, 0, 0, 23), (0x15, 0, 4, 6),
    (0xB1, 0, 0, 14), (0x50, 0, 0, 27), (0x45, 0, 1, 0x07), (0x06, 0, 0, 0x40000),
    (0x06, 0, 0, 0),
)  # fmt: skip

_sniffers: list[socket.socket] = []


@dataclass(frozen=True)
class Sent:
    """The payload of one direction of one connection."""

    source: str
    dest: str
    bytes: int


def watch_wire(interface: str) -> None:
    """Keep the beginnings and ends of TCP connections from now on."""
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    program = b"".join(struct.pack("HBBI", *line) for line in _FILTER)
    memory = ctypes.create_string_buffer(program)
    address = ctypes.addressof(memory)
    option = struct.pack("HxxxxxxP", len(_FILTER), address)
    sniffer.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
    sniffer.bind((interface, _ETH_P_ALL))
    sniffer.setblocking(False)
    _sniffers.append(sniffer)


def read_wire() -> list[Sent]:
    """Return each direction of the connections that had a beginning and an end.

    A direction that the other side cut off ends with what that side had acknowledged.
    """
    first: dict[bytes, int] = {}
    end: dict[bytes, int] = {}
    acknowledged: dict[bytes, int] = {}
    for packet in _read_packets(_sniffers.pop()):
        header = (packet[0] & 0xF) * 4
        tcp = packet[header:]
        payload = int.from_bytes(packet[2:4]) - header - (tcp[12] >> 4) * 4
        flow = packet[12:20] + tcp[:4]
        reverse = flow[4:8] + flow[:4] + flow[10:] + flow[8:10]
        sequence, flags = int.from_bytes(tcp[4:8]), tcp[13]
        if flags & _SYN:
            first[flow] = sequence + 1
        elif flags & _FIN:
            end[flow] = sequence + payload
        if flags & _ACK:
            acknowledged[reverse] = int.from_bytes(tcp[8:12])
    return [
        Sent(
            socket.inet_ntoa(flow[:4]),
            socket.inet_ntoa(flow[4:8]),
            (end.get(flow, acknowledged[flow]) - start) % 2**32,
        )
        for flow, start in first.items()
    ]


def _read_packets(sniffer: socket.socket) -> list[bytes]:
    packets = []
    with sniffer:
        while True:
            try:
                packets.append(sniffer.recv(1 << 16)[14:])
            except BlockingIOError:
                return packets
