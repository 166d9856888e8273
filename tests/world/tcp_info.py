"""What the kernel itself says of a TCP socket (struct tcp_info, include/uapi)."""

from __future__ import annotations

import socket
import struct
from dataclasses import astuple, dataclass

_LAYOUT = struct.Struct("=8B24I4Q6I4Q2I2Q")
_RTT, _TOTAL_RETRANSMITS = 8 + 15, 8 + 23
_BYTES_RECEIVED = 8 + 24 + 3
_SEGMENTS_SENT, _SEGMENTS_RECEIVED, _MIN_RTT = 36, 37, 39
_BYTES_SENT, _BYTES_RETRANSMITTED = 48, 49
_UNACKED = 8 + 4


@dataclass(frozen=True)
class TcpInfo:
    """Counters of one socket, or of several added up. Bytes are payload."""

    bytes_sent: int = 0  # retransmissions not counted
    bytes_received: int = 0
    segments_sent: int = 0
    segments_received: int = 0
    retransmits: int = 0
    rtt_us: int = 0
    min_rtt_us: int = 0
    unacked: int = 0

    def __add__(self, other: TcpInfo) -> TcpInfo:
        return TcpInfo(
            *(a + b for a, b in zip(astuple(self), astuple(other), strict=True))
        )

    def __sub__(self, other: TcpInfo) -> TcpInfo:
        return TcpInfo(
            *(a - b for a, b in zip(astuple(self), astuple(other), strict=True))
        )


def read_tcp_info(connection: socket.socket) -> TcpInfo:
    """Ask the kernel."""
    raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAYOUT.size)
    values = _LAYOUT.unpack(raw)
    return TcpInfo(
        bytes_sent=values[_BYTES_SENT] - values[_BYTES_RETRANSMITTED],
        bytes_received=values[_BYTES_RECEIVED],
        segments_sent=values[_SEGMENTS_SENT],
        segments_received=values[_SEGMENTS_RECEIVED],
        retransmits=values[_TOTAL_RETRANSMITS],
        rtt_us=values[_RTT],
        min_rtt_us=values[_MIN_RTT],
        unacked=values[_UNACKED],
    )
