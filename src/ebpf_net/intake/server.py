"""The reducer's end of the intake: an HTTP server in a thread of its own."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import threading

import uvicorn

from ebpf_net.errors import EnvironmentFault
from ebpf_net.intake.application import IntakeApplication
from ebpf_net.intake.guarded_protocol import Bounds, GuardedProtocol
from ebpf_net.intake.handshakes import count_failures
from ebpf_net.intake.listening import open_sockets, server_tls
from ebpf_net.intake.options import ServerOptions
from ebpf_net.intake.refusals import IntakeCounters
from ebpf_net.intake.sink import BatchSink, Overloaded, SnapshotNeeded
from ebpf_net.schema import InternalPoint

__all__ = [
    "BatchSink",
    "IntakeServer",
    "Overloaded",
    "ServerOptions",
    "SnapshotNeeded",
]

_GRACE_SECONDS = 1
_CLOSE_SECONDS = 3.0
_MESSAGE_GRACE_SECONDS = 5.0
_LINGER_BYTES = 64 << 20  # read and dropped, so that a sender sees why it is refused


class IntakeServer:
    """Takes batches and hands them to the sink."""

    def __init__(self, options: ServerOptions, sink: BatchSink) -> None:
        """Check the options; raises SettingError."""
        self._options = options
        self._tls = server_tls(options)
        self._counters = IntakeCounters()
        if self._tls is not None:
            count_failures(self._tls, self._counters)
        self._application = IntakeApplication(options, sink, self._counters)
        self._sockets: list[socket.socket] = []
        self._addresses: tuple[tuple[str, int], ...] = ()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where it listens."""
        return self._addresses

    @property
    def port(self) -> int:
        """The port, once started; it is chosen by the kernel if the option is 0."""
        return self._addresses[0][1]

    def start(self) -> None:
        """Listen and serve; raises SettingError or EnvironmentFault."""
        self._sockets = open_sockets(self._options)
        names = [listener.getsockname() for listener in self._sockets]
        self._addresses = tuple((str(name[0]), int(name[1])) for name in names)
        self._server = self._make_server()
        self._thread = threading.Thread(
            target=self._run, args=(self._server,), name="intake", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer what is being asked, then stop: within 3 seconds."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            raise EnvironmentFault("the intake did not stop in time")
        self._application.close()
        self._server = self._thread = None

    def metrics(self) -> list[InternalPoint]:
        """Return what has come in and what was refused."""
        return self._counters.points()

    def _make_server(self) -> uvicorn.Server:
        options = self._options
        bounds = Bounds(
            self._counters,
            options.max_connections,
            options.max_body_bytes + _LINGER_BYTES,
            options.head_seconds,
            options.body_seconds + _MESSAGE_GRACE_SECONDS,
        )
        config = uvicorn.Config(
            self._application,
            http=functools.partial(GuardedProtocol, bounds),  # type: ignore[arg-type]  # called, never subclassed
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=options.keep_alive_seconds,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        config.load()
        config.ssl = self._tls
        return uvicorn.Server(config)

    def _run(self, server: uvicorn.Server) -> None:
        asyncio.run(server.serve(sockets=self._sockets))
