"""An HTTP endpoint for scrapers, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn
from starlette.applications import Starlette

from ebpf_net.errors import EnvironmentFault
from ebpf_net.intake.listening import listening_fault

_GRACE_SECONDS = 1
_CLOSE_SECONDS = 3.0
_BACKLOG = 128
_MAX_CONNECTIONS = 256


class Endpoint:
    """Serves an application on one address until ``close``."""

    def __init__(
        self, application: Starlette, address: tuple[str, int], flag: str
    ) -> None:
        """Listen; EnvironmentFault names ``flag`` when the address cannot be had."""
        self._socket = _listen(address, flag)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self._thread = threading.Thread(
            target=self._run, name=f"endpoint {flag}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))


def _listen(address: tuple[str, int], flag: str) -> socket.socket:
    host, port = address
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise EnvironmentFault(f"{flag}: {host} is no address: {error}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise listening_fault(error, f"{flag} HOST:PORT", host, port) from None
    return listener
