"""A UDP server with many peers and its clients, as functions for a Worker."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass


@dataclass
class Datagrams:
    """What a program counted; bytes are payload."""

    received: int = 0
    bytes_received: int = 0
    sent: int = 0
    bytes_sent: int = 0


_served: dict[str, Datagrams] = {}
_sockets: list[socket.socket] = []


def serve_udp(address: str, port: int, reply_bytes: int) -> None:
    """Answer each datagram, from one socket; with no ``reply_bytes`` only read it."""
    server = socket.socket(_family(address), socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    server.bind((address, port))
    threading.Thread(target=_serve, args=(server, reply_bytes), daemon=True).start()


def read_served_udp() -> dict[str, Datagrams]:
    """Return what the server counted, by the peer's address."""
    return dict(_served)


def exchange_datagrams(
    sources: list[str], address: str, port: int, rounds: int, size: int
) -> Datagrams:
    """From one socket at each of ``sources``: send a datagram and await the answer.

    The sockets stay open. Each has one datagram on its way at a time, so none is lost.
    """
    total = Datagrams()
    for source in sources:
        client = socket.socket(_family(address), socket.SOCK_DGRAM)
        client.bind((source, 0))
        client.connect((address, port))
        client.settimeout(30)
        _sockets.append(client)
        _exchange(client, rounds, size, total)
    return total


def exchange_again(rounds: int, size: int) -> Datagrams:
    """Go on from the sockets that ``exchange_datagrams`` left open."""
    total = Datagrams()
    for client in _sockets:
        _exchange(client, rounds, size, total)
    return total


def send_from_each(sources: list[str], address: str, port: int, size: int) -> None:
    """From one socket at each of ``sources``: send one datagram."""
    for source in sources:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as client:
            client.bind((source, 0))
            client.sendto(bytes(size), (address, port))


def bind_without_reading(address: str, port: int, buffer_bytes: int) -> None:
    """Open a socket whose receive buffer will overflow."""
    server = socket.socket(_family(address), socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    server.bind((address, port))
    _sockets.append(server)


def send_datagrams(address: str, port: int, count: int, size: int) -> None:
    """Send and expect no answer."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as client:
        client.connect((address, port))
        for _ in range(count):
            client.send(bytes(size))


def repeat_datagrams(address: str, port: int, count: int) -> None:
    """Send from a socket that is the same at each call; expect no answer."""
    if not _sockets:
        _sockets.append(socket.socket(_family(address), socket.SOCK_DGRAM))
    for _ in range(count):
        _sockets[0].sendto(b"x", (address, port))


def send_bound(address: str, port: int, count: int, size: int) -> None:
    """Send from the socket that ``bind_without_reading`` opened."""
    for _ in range(count):
        _sockets[-1].sendto(bytes(size), (address, port))


def count_readable() -> int:
    """Read what the sockets of this worker hold, and return how many datagrams."""
    count = 0
    for reader in _sockets:
        reader.setblocking(False)
        while True:
            try:
                reader.recv(1 << 16)
            except BlockingIOError:
                break
            count += 1
    return count


def _exchange(client: socket.socket, rounds: int, size: int, total: Datagrams) -> None:
    for _ in range(rounds):
        total.bytes_sent += client.send(bytes(size))
        total.sent += 1
        total.bytes_received += len(client.recv(1 << 16))
        total.received += 1


def _serve(server: socket.socket, reply_bytes: int) -> None:
    reply = bytes(reply_bytes)
    while True:
        data, peer = server.recvfrom(1 << 16)
        counts = _served.setdefault(peer[0], Datagrams())
        counts.received += 1
        counts.bytes_received += len(data)
        if reply:
            # First, for a client that asks as soon as it has its answer.
            counts.sent += 1
            counts.bytes_sent += len(reply)
            server.sendto(reply, peer)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
