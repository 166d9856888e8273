"""A load between two hosts whose every byte is known."""

from __future__ import annotations

from concurrent.futures import Future

from tests.world import tcp_traffic
from tests.world.hosts import Network

REQUEST_BYTES, REPLY_BYTES = 200, 1000
_PORT = 5000


class Load:
    """A server that answers and a client that asks, on two hosts."""

    def __init__(self, network: Network) -> None:
        self.client = network.host("client")
        self.server = network.host("server")
        self.calling = self.client.worker()
        self.serving = self.server.worker()
        self.serving.call(
            *(tcp_traffic.serve, self.server.address, _PORT),
            *(REQUEST_BYTES, REPLY_BYTES),
        )

    def connect(self, count: int) -> None:
        """Open connections that stay open."""
        self.calling.call(
            tcp_traffic.open_connections, self.server.address, _PORT, count
        )

    def exchange(self, rounds: int) -> None:
        """Ask ``rounds`` times on each open connection."""
        self.calling.call(tcp_traffic.exchange, rounds, REQUEST_BYTES, REPLY_BYTES)

    def start_short_connections(self, count: int) -> Future[None]:
        """Begin to connect, ask once and close, ``count`` times one after the other."""
        return self.calling.submit(
            *(tcp_traffic.make_short_connections, self.server.address, _PORT),
            *(count, REQUEST_BYTES, REPLY_BYTES),
        )

    def served(self) -> tcp_traffic.Served:
        """Return what the server's program counted so far."""
        return self.serving.call(tcp_traffic.read_served)
