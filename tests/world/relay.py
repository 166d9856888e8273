"""Lets what runs in a host's network namespace reach a port of the test's own."""

from __future__ import annotations

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from tests.world.hosts import Host
from tests.world.workers import enter_netns


class Relay:
    """Listens at a port of the host's loopback and passes all on to the same outside.

    A socket stays in the namespace in which it was made, whoever uses it.
    """

    def __init__(self, host: Host, port: int) -> None:
        self._port = port
        with ThreadPoolExecutor(1) as inside:
            self._listener = inside.submit(_listen, host.netns, port).result()
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):  # it may have ended
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                thread = threading.Thread(target=self._pass_on, args=(inner,))
                self._sockets.append(inner)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, inner: socket.socket) -> None:
        with inner, socket.create_connection(("127.0.0.1", self._port)) as outer:
            back = threading.Thread(target=_copy, args=(outer, inner))
            back.start()
            _copy(inner, outer)
            back.join()


def _listen(netns: str, port: int) -> socket.socket:
    enter_netns(netns)
    return socket.create_server(("127.0.0.1", port))


def _copy(source: socket.socket, dest: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            dest.sendall(data)
    with contextlib.suppress(OSError):
        dest.shutdown(socket.SHUT_WR)
