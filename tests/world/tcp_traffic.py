"""TCP servers and clients of exact numbers, as functions for a Worker."""

from __future__ import annotations

import selectors
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from tests.world.tcp_info import TcpInfo, read_tcp_info
from tests.world.waiting import wait_until


@dataclass
class Served:
    """What a server's program counted."""

    connections: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0


@dataclass
class _Server:
    listener: socket.socket
    request_bytes: int
    reply: bytes
    closes: bool
    served: Served = field(default_factory=Served)
    pending: dict[socket.socket, int] = field(default_factory=dict)

    def run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self.listener:
                    self._accept(selector)
                else:
                    self._read(selector, key.fileobj)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        connection, _ = self.listener.accept()
        self.served.connections += 1
        self.pending[connection] = 0
        selector.register(connection, selectors.EVENT_READ)

    def _read(
        self, selector: selectors.BaseSelector, connection: socket.socket
    ) -> None:
        data = connection.recv(1 << 16)
        if not data:
            self._close(selector, connection)
            return
        self.served.bytes_received += len(data)
        requests, rest = divmod(
            self.pending[connection] + len(data), self.request_bytes
        )
        self.pending[connection] = rest
        # First, for a client that asks as soon as it has its answer.
        self.served.bytes_sent += len(self.reply) * requests
        connection.sendall(self.reply * requests)
        if requests and self.closes:
            self._close(selector, connection)

    def _close(
        self, selector: selectors.BaseSelector, connection: socket.socket
    ) -> None:
        selector.unregister(connection)
        self.pending.pop(connection)
        connection.close()


_servers: list[_Server] = []
_connections: list[socket.socket] = []


def serve(
    address: str,
    port: int,
    request_bytes: int,
    reply_bytes: int,
    *,
    closes: bool = False,
) -> None:
    """Answer each ``request_bytes`` on each connection with ``reply_bytes``.

    A server that ``closes`` does so after its first answer, before the client.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family, backlog=4096)
    server = _Server(listener, request_bytes, bytes(reply_bytes), closes)
    _servers.append(server)
    threading.Thread(target=server.run, daemon=True).start()


def read_served() -> Served:
    """Return what the server of this worker counted so far."""
    return _servers[-1].served


def read_server_info() -> TcpInfo:
    """Return the kernel's counters of the server's open connections, added."""
    return _add_up(list(_servers[-1].pending))


def open_connections(address: str, port: int, count: int) -> None:
    """Connect, and keep the connections open."""
    _connections.extend(
        socket.create_connection((address, port), 30) for _ in range(count)
    )


def exchange(rounds: int, request_bytes: int, reply_bytes: int) -> None:
    """Send a request on each open connection and read its reply, ``rounds`` times."""
    request = bytes(request_bytes)
    for _ in range(rounds):
        for connection in _connections:
            connection.sendall(request)
            _read_exactly(connection, reply_bytes)


def read_client_info() -> TcpInfo:
    """Return the kernel's counters of the client's open connections, added."""
    return _add_up(_connections)


def close_connections() -> None:
    """Close what ``open_connections`` opened."""
    while _connections:
        _connections.pop().close()


def make_short_connections(
    address: str, port: int, count: int, request_bytes: int, reply_bytes: int
) -> None:
    """Connect, send one request, read its reply and close, ``count`` times."""
    request = bytes(request_bytes)
    for _ in range(count):
        with socket.create_connection((address, port), 30) as connection:
            connection.sendall(request)
            _read_exactly(connection, reply_bytes)


def reuse_ports(
    source: str,
    ports: list[int],
    address: str,
    port: int,
    count: int,
    request_bytes: int,
    reply_bytes: int,
) -> None:
    """From some ports in turn: one request each, ``count`` times. The server closes."""
    request = bytes(request_bytes)
    for number in range(count):
        local = (source, ports[number % len(ports)])
        with socket.create_connection((address, port), 30, local) as connection:
            connection.sendall(request)
            _read_exactly(connection, reply_bytes)
            assert not connection.recv(1)


def limit_syn_retries(count: int) -> None:
    """Let connects of this network namespace give up early."""
    Path("/proc/sys/net/ipv4/tcp_syn_retries").write_text(str(count))


def connect_in_vain(address: str, port: int, count: int) -> str:
    """Connect where nobody answers and return the name of the last error."""
    error = ""
    for _ in range(count):
        try:
            socket.create_connection((address, port)).close()
        except OSError as failure:
            error = type(failure).__name__
    return error


def _add_up(connections: list[socket.socket]) -> TcpInfo:
    """Wait until all is acknowledged: from then on nothing moves."""
    wait_until(lambda: not any(read_tcp_info(c).unacked for c in connections), 30)
    return sum(map(read_tcp_info, connections), TcpInfo())


def _read_exactly(connection: socket.socket, size: int) -> None:
    while size:
        data = connection.recv(min(size, 1 << 16))
        if not data:
            raise ConnectionError("the server closed before its reply was complete")
        size -= len(data)
