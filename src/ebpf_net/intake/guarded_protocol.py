"""uvicorn's HTTP protocol with the bounds that it lacks: time, bytes, connections.

uvicorn waits for ever for the head of a first request, keeps a head of any length, and
reads the rest of a body that was already refused.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ebpf_net.intake.refusals import IntakeCounters

MAX_HEAD_BYTES = 65_536

_quiet_logger = logging.getLogger(f"{__name__}.uvicorn")
_quiet_logger.setLevel(logging.CRITICAL)  # a stranger must not fill the log


@dataclass(frozen=True)
class Bounds:
    """Limits of one connection, and where a breach is counted."""

    counters: IntakeCounters
    max_connections: int
    max_message_bytes: int
    head_seconds: float
    message_seconds: float


class GuardedProtocol(HttpToolsProtocol):
    """One connection. A message is what comes between two requests' first bytes."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _quiet_logger
        self.access_log = False
        self._bounds = bounds
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._message_bytes = 0

    def connection_made(  # type: ignore[override]  # as uvicorn's own
        self, transport: asyncio.Transport
    ) -> None:
        """Start to wait for the first head."""
        super().connection_made(transport)
        if len(self.connections) > self._bounds.max_connections:
            self._abort("connections", "too many connections")
            return
        self._wait(self._bounds.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Let uvicorn parse it unless it goes on for too long."""
        self._message_bytes += len(data)
        super().data_received(data)
        limit = MAX_HEAD_BYTES if self._in_head else self._bounds.max_message_bytes
        if self._message_bytes > limit and not self.transport.is_closing():
            self._abort("http" if self._in_head else "too_large", "it goes on and on")

    def send_400_response(self, msg: str) -> None:
        """Count what is not HTTP."""
        self._count("http", msg)
        super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True
        self._wait(self._bounds.head_seconds)

    def on_headers_complete(self) -> None:
        """A body begins."""
        self._in_head = False
        self._wait(self._bounds.message_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is complete, and uvicorn's keep-alive takes over."""
        self._stop_waiting()
        self._message_bytes = 0
        super().on_message_complete()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(
            seconds, self._abort, "slow", "the request did not come in time"
        )

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _abort(self, reason: str, message: str) -> None:
        self._count(reason, message)
        self.transport.abort()

    def _count(self, reason: str, message: str) -> None:
        host = self.client[0] if self.client else "a stranger"
        self._bounds.counters.refused(reason, message, host)
