"""The intake's ASGI application: what is checked of a request, and in which order.

The token before anything of the body is read; then type, encoding, length and the
batch's header; then the body, bounded in bytes and time; then its contents, in a worker
thread. (A certificate is checked by TLS before there is a request.)
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from ebpf_net.errors import BatchError
from ebpf_net.intake.batch import CONTENT_TYPE, PATH, BatchHeader, Receipt
from ebpf_net.intake.decode import UNKNOWN_TABLE, Limits, decode
from ebpf_net.intake.headers import (
    collector_name,
    from_headers,
    incarnation_name,
    receipt_to_json,
)
from ebpf_net.intake.options import ServerOptions
from ebpf_net.intake.refusals import IntakeCounters
from ebpf_net.intake.sink import BatchSink, Overloaded, SnapshotNeeded
from ebpf_net.intake.tokens import TokenFile

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_STATUS = {"zstd": 400, "ipc": 400, "header": 400, "decoded_size": 413, "rows": 413}
_HINT = {
    "ebpf-net": "intake of the reducer",
    "post": PATH,
    "content-type": CONTENT_TYPE,
    "content-encoding": "zstd",
}

logger = logging.getLogger(__name__)


class _Refusal(Exception):
    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


class IntakeApplication:
    """Answers requests; lives in one event loop, decodes in threads of its own."""

    def __init__(
        self, options: ServerOptions, sink: BatchSink, counters: IntakeCounters
    ) -> None:
        self._options = options
        self._sink = sink
        self._sink_lock = threading.Lock()
        self._counters = counters
        self._tokens = TokenFile(options.token_file) if options.token_file else None
        self._limits = Limits(options.max_decoded_bytes, options.max_rows)
        self._decodes = 0
        self._buffered = 0
        self._workers = ThreadPoolExecutor(
            options.decode_threads, thread_name_prefix="intake-decode"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            status, body = await self._answer(scope, receive)
            await _reply(send, status, body, {})
        except _Refusal as refusal:
            await self._refuse(scope, send, refusal)
        except Exception as error:  # noqa: BLE001 - logged in _refuse
            fault = _Refusal(500, "internal", "internal error")
            fault.__cause__ = error
            await self._refuse(scope, send, fault)

    def close(self) -> None:
        """Wait for the decodes that run."""
        self._workers.shutdown(cancel_futures=True)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        path, method = scope["path"], scope["method"]
        if path in ("/", "/healthz"):
            if method not in ("GET", "HEAD"):
                raise _Refusal(405, "method", f"{method} {path}")
            return 200, json.dumps(_HINT if path == "/" else {"status": "ok"}).encode()
        if path != PATH:
            raise _Refusal(404, "not_found", f"no {path[:80]!r} here, POST to {PATH}")
        headers = _headers(scope)
        self._authorize(headers)
        if method == "GET":
            return 200, receipt_to_json(await self._progress(headers))
        if method != "POST":
            raise _Refusal(405, "method", f"{method[:20]} {path}", {"Allow": "POST"})
        return 200, receipt_to_json(await self._take(headers, receive))

    def _authorize(self, headers: Mapping[str, str]) -> None:
        if self._tokens is None:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._tokens.allows(token.strip()):
            message = "a bearer token is needed" if not token else "unknown token"
            raise _Refusal(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})

    async def _progress(self, headers: Mapping[str, str]) -> Receipt:
        try:
            names = collector_name(headers), incarnation_name(headers)
        except BatchError as error:
            raise _Refusal(400, error.reason, str(error)) from error
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, self._locked_progress, *names)

    def _locked_progress(self, collector: str, incarnation: str) -> Receipt:
        with self._sink_lock:
            return self._sink.progress(collector, incarnation)

    async def _take(self, headers: Mapping[str, str], receive: Receive) -> Receipt:
        received_ns = time.time_ns()
        self._check_content(headers)
        try:
            header, sent_ns = from_headers(headers)
        except BatchError as error:
            raise _Refusal(400, error.reason, str(error)) from error
        reserved = 0
        try:
            reserved = self._reserve(headers)
            body = await self._read(receive)
            self._counters.read(len(body))
            return await self._decode(header, body, received_ns, sent_ns)
        finally:
            self._buffered -= reserved

    def _check_content(self, headers: Mapping[str, str]) -> None:
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != CONTENT_TYPE:
            raise _Refusal(415, "content_type", f"Content-Type is not {CONTENT_TYPE}")
        if headers.get("content-encoding", "").strip().lower() != "zstd":
            raise _Refusal(415, "content_encoding", "Content-Encoding is not zstd")

    def _reserve(self, headers: Mapping[str, str]) -> int:
        limit = self._options.max_body_bytes
        length = headers.get("content-length", "")
        size = int(length) if length.isdecimal() and len(length) < 20 else limit
        if size > limit:
            raise _Refusal(413, "too_large", f"at most {limit} bytes are taken")
        if self._buffered + size > self._options.max_buffered_bytes:
            raise self._busy("too many bodies at once")
        self._buffered += size
        return size

    async def _read(self, receive: Receive) -> bytes:
        limit = self._options.max_body_bytes
        chunks: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._options.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise _Refusal(400, "disconnected", "the sender went away")
                    chunk: bytes = message.get("body", b"")
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > limit:
                        raise _Refusal(413, "too_large", f"over {limit} bytes")
                    more = message.get("more_body", False)
        except TimeoutError:
            close = {"Connection": "close"}
            raise _Refusal(408, "slow", "the body takes too long", close) from None
        return b"".join(chunks)

    async def _decode(
        self, header: BatchHeader, body: bytes, received_ns: int, sent_ns: int
    ) -> Receipt:
        if self._decodes >= self._options.max_decodes:
            raise self._busy("too many batches at once")
        self._decodes += 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._workers, self._accept, header, body, received_ns, sent_ns
            )
        except BatchError as error:
            status = _STATUS.get(error.reason, 422)
            raise _Refusal(status, error.reason, str(error)) from error
        except SnapshotNeeded:
            raise _Refusal(409, "", "a snapshot is needed first") from None
        except Overloaded as error:
            retry = _retry_after(error.retry_after_seconds)
            raise _Refusal(503, "overloaded", "overloaded", retry) from None
        finally:
            self._decodes -= 1

    def _accept(
        self, header: BatchHeader, body: bytes, received_ns: int, sent_ns: int
    ) -> Receipt:
        """Run in a worker thread."""
        batch = decode(header, body, self._limits)
        rows = {name: table.num_rows for name, table in batch.tables.items()}
        with self._sink_lock:
            receipt = self._sink.accept(batch, received_ns, sent_ns)
        self._counters.accepted(rows, duplicate=receipt.duplicate)
        for name in batch.unknown if not receipt.duplicate else ():
            message = f"table {name}, which a newer reducer knows"
            self._counters.skipped(UNKNOWN_TABLE, message, header.host)
        return receipt

    def _busy(self, message: str) -> _Refusal:
        retry = _retry_after(self._options.retry_after_seconds)
        return _Refusal(503, "busy", message, retry)

    async def _refuse(self, scope: Scope, send: Send, refusal: _Refusal) -> None:
        if refusal.reason:
            client = scope.get("client")
            host = client[0] if client else "a stranger"
            logged = self._counters.refused(refusal.reason, str(refusal), host)
            if logged and refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                logger.error("a request met a fault", exc_info=refusal.__cause__)
        reason = refusal.reason or "snapshot_needed"
        body = json.dumps({"error": str(refusal), "reason": reason}).encode()
        await _reply(send, refusal.status, body, refusal.headers)


def _headers(scope: Scope) -> dict[str, str]:
    """Return the request's headers by lower-case name; of a repeated one the last."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
    }


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, round(seconds)))}


async def _reply(
    send: Send, status: int, body: bytes, headers: Mapping[str, str]
) -> None:
    fields = {
        "content-type": "application/json",
        "content-length": str(len(body) + 1),
        **headers,
    }
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.lower().encode(), v.encode()) for k, v in fields.items()],
        }
    )
    await send({"type": "http.response.body", "body": body + b"\n"})
