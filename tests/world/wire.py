"""What went over the wire, by sequence number: a witness that no counter made.

After the SYN of one side its sequence number grows by its payload, whatever was sent
again or merged on the way. Functions for a Worker.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER_BYTES = 256 << 20
_STATISTICS = struct.Struct("=II")  # packets, and those that found the buffer full
_SYN = 0x02

# The headers of TCP over IPv4, and nothing else.
_FILTER = (
    (0x28, 0, 0, 12), (0x15, 0, 3, 0x800), (0x30, 0, 0, 23), (0x15, 0, 1, 6),
    (0x06, 0, 0, 134), (0x06, 0, 0, 0),
)  # fmt: skip

_sniffers: list[socket.socket] = []


@dataclass(frozen=True)
class Sent:
    """The payload of one direction of one connection."""

    source: str
    dest: str
    bytes: int


def watch_wire(interface: str) -> None:
    """Keep the headers of TCP connections from now on."""
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    program = b"".join(struct.pack("HBBI", *line) for line in _FILTER)
    memory = ctypes.create_string_buffer(program)
    address = ctypes.addressof(memory)
    option = struct.pack("HxxxxxxP", len(_FILTER), address)
    sniffer.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
    sniffer.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    sniffer.bind((interface, _ETH_P_ALL))
    sniffer.setblocking(False)
    _sniffers.append(sniffer)


def read_wire() -> list[Sent]:
    """Return each direction of the connections that had a beginning.

    At the sender's end this is what it sent, taken by the other side or cut off.
    """
    sent: dict[bytes, int] = {}
    first: dict[bytes, int] = {}
    for packet in _read_packets(_sniffers.pop()):
        header = (packet[0] & 0xF) * 4
        tcp = packet[header:]
        payload = int.from_bytes(packet[2:4]) - header - (tcp[12] >> 4) * 4
        flow = packet[12:20] + tcp[:4]
        sequence = int.from_bytes(tcp[4:8])
        if tcp[13] & _SYN:
            first[flow] = sequence + 1
            sent[flow] = 0
        elif payload:
            end = (sequence + payload - first[flow]) % 2**32
            sent[flow] = max(sent[flow], end)
    return [
        Sent(socket.inet_ntoa(flow[:4]), socket.inet_ntoa(flow[4:8]), count)
        for flow, count in sent.items()
    ]


def _read_packets(sniffer: socket.socket) -> Iterator[bytes]:
    with sniffer:
        statistics = sniffer.getsockopt(
            _SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size
        )
        _, lost = _STATISTICS.unpack(statistics)
        assert lost == 0, f"{lost} packets were not kept"
        while True:
            try:
                yield sniffer.recv(1 << 16)[14:]
            except BlockingIOError:
                return
