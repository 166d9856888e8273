"""Requests to an API server over HTTP, and watches: streams of lines that never end.

urllib3 does the work; a watch has a connection for itself. Errors of every kind become
ApiError, and what to do about it is the caller's.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from ebpf_net.collectors.kubernetes.access import Access
from ebpf_net.collectors.kubernetes.api_messages import read_status
from ebpf_net.collectors.kubernetes.credentials import Credentials, CredentialsMissing
from ebpf_net.errors import SettingError

UNREACHABLE = 0
"""The status of an error that is no answer."""
_CONNECT_SECONDS = 10.0
_REQUEST_SECONDS = 60.0
_CONNECTIONS = 16
_MAX_LINE_BYTES = 16 << 20  # etcd takes no object near this
_MAX_BODY_BYTES = 256 << 20  # a hundred objects are a page, if they can be asked for so
_MAX_ERROR_BYTES = 1 << 20
_READ_BYTES = 65_536
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
]
"""A server that is gone without a word is noticed within a minute."""

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """The server refused, failed, or gave no answer (status 0)."""

    def __init__(self, status: int, message: str, retry_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_seconds = retry_seconds

    @property
    def is_answer(self) -> bool:
        """Whether there was an answer, if only one that cannot be read."""
        unreadable = isinstance(self.__cause__, msgspec.DecodeError)
        return self.status != UNREACHABLE or unreadable


class Watch:
    """The lines of a stream. ``close`` may be called by any thread."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self._closed = False

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._response.close()
        self._response.release_conn()

    def lines(self) -> Iterator[bytes]:
        """Yield whole lines; one that breaks off is left out. Raises ApiError."""
        pending = bytearray()
        try:
            for chunk in self._response.stream(65_536, decode_content=True):
                pending += chunk
                if b"\n" not in chunk:
                    if len(pending) > _MAX_LINE_BYTES:
                        raise ApiError(UNREACHABLE, "a line without an end")
                    continue
                *lines, rest = pending.split(b"\n")
                pending = rest
                for line in lines:
                    if line:
                        yield bytes(line)
        except (HTTPError, OSError, ValueError) as error:
            if not self._closed:
                raise ApiError(UNREACHABLE, _plain(error)) from error

    def close(self) -> None:
        """End the stream; ``lines`` returns."""
        self._closed = True
        with contextlib.suppress(ValueError, OSError, RuntimeError):  # it has ended
            self._response.shutdown()


class ApiServer:
    """For any thread. Connections are kept open and shared."""

    def __init__(
        self,
        access: Access,
        credentials: Credentials,
        max_body_bytes: int = _MAX_BODY_BYTES,
    ) -> None:
        """Check the certificates; raises SettingError."""
        self.access = access
        self._max_body_bytes = max_body_bytes
        self._credentials = credentials
        self._lock = threading.Lock()
        self._pool: urllib3.PoolManager | None = None
        self._version: tuple[object, ...] = ()
        self._is_away = False
        if access.server.startswith("https://"):
            try:
                credentials.tls()
            except CredentialsMissing as error:
                logger.warning("%s", error)

    def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
        seconds: float = _REQUEST_SECONDS,
    ) -> bytes:
        """Return what is at a path; raises ApiError."""
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        deadline = time.monotonic() + seconds
        response = self._open("GET", path, query, headers, None, seconds)
        return self._body(response, deadline, self._max_body_bytes)

    def send(self, method: str, path: str, body: bytes, seconds: float) -> bytes:
        """Create or replace an object and return it; raises ApiError."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        deadline = time.monotonic() + seconds
        response = self._open(method, path, None, headers, body, seconds)
        return self._body(response, deadline, self._max_body_bytes)

    def watch(
        self, path: str, query: Mapping[str, str], accept: str, seconds: float
    ) -> Watch:
        """Begin a stream that the server ends after ``seconds``; raises ApiError."""
        headers = {"Accept": accept}
        return Watch(self._open("GET", path, query, headers, None, seconds + 30))

    def status(self) -> dict[str, int]:
        """Return whether the last request was answered."""
        return {"signal.kubernetes_api.answers": int(not self._is_away)}

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            if self._pool is not None:
                self._pool.clear()
                self._pool = None

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: float,
    ) -> urllib3.BaseHTTPResponse:
        response = self._request(method, path, query, headers, body, seconds)
        if response.status == HTTPStatus.UNAUTHORIZED:
            self._short_body(response)  # so that the connection can be used again
            self._credentials.refused()
            response = self._request(method, path, query, headers, body, seconds)
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise self._error(response)
        return response

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: float,
    ) -> urllib3.BaseHTTPResponse:
        url = f"{self.access.server}{path}"
        if query:
            url += f"?{urlencode(query)}"
        try:
            own = {"User-Agent": "ebpf-net", **self._credentials.headers()}
            response = self._connections().request(
                method,
                url,
                body=body,
                headers={**own, **headers},
                timeout=urllib3.Timeout(
                    total=seconds, connect=min(_CONNECT_SECONDS, seconds)
                ),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (
            *(HTTPError, OSError, ValueError, SettingError, CredentialsMissing),
        ) as error:
            self._note_away(_plain(error))
            raise ApiError(UNREACHABLE, _plain(error)) from error
        self._note_back()
        return response

    def _note_away(self, why: str) -> None:
        """Say once for all requests that there is no answer."""
        with self._lock:
            was_away, self._is_away = self._is_away, True
        if not was_away:
            server = self.access.server
            logger.warning("cannot ask the API server at %s: %s", server, why)

    def _note_back(self) -> None:
        with self._lock:
            was_away, self._is_away = self._is_away, False
        if was_away:
            logger.info("the API server at %s answers again", self.access.server)

    def _connections(self) -> urllib3.PoolManager:
        with self._lock:
            version = self._credentials.version()
            if self._pool is None or version != self._version:
                self._pool = self._make_pool()
                self._version = self._credentials.version()
            return self._pool

    def _make_pool(self) -> urllib3.PoolManager:
        access = self.access
        options: dict[str, Any] = {
            "num_pools": 1,
            "maxsize": _CONNECTIONS,
            "socket_options": _SOCKET_OPTIONS,
        }
        if access.server.startswith("https://"):
            options["ssl_context"] = self._credentials.tls()
            if access.insecure:
                options["cert_reqs"] = "CERT_NONE"
                urllib3.disable_warnings(InsecureRequestWarning)  # as was asked for
            elif access.tls_server_name:
                options["server_hostname"] = access.tls_server_name
                options["assert_hostname"] = access.tls_server_name
        if access.proxy_url:
            return urllib3.ProxyManager(access.proxy_url, **options)
        return urllib3.PoolManager(**options)

    def _body(
        self, response: urllib3.BaseHTTPResponse, deadline: float, most: int
    ) -> bytes:
        """Read all there is, which has an end in time and in bytes."""
        parts, left = [], most
        try:
            for part in _parts(response, deadline, most):
                parts.append(part)
                left -= len(part)
                if left < 0:
                    raise ApiError(response.status, f"an answer beyond {most} bytes")
            response.release_conn()
        except ApiError:
            response.close()
            raise
        except (HTTPError, OSError, zlib.error) as error:
            response.close()
            raise ApiError(UNREACHABLE, _plain(error)) from error
        return b"".join(parts)

    def _short_body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        deadline = time.monotonic() + _CONNECT_SECONDS
        try:
            return self._body(response, deadline, _MAX_ERROR_BYTES)
        except ApiError:
            return b""

    def _error(self, response: urllib3.BaseHTTPResponse) -> ApiError:
        body = self._short_body(response)
        status = read_status(body)
        retry = response.headers.get("Retry-After", "")
        seconds = float(retry) if retry.isascii() and retry.isdigit() else 0.0
        message = status.message or f"HTTP status {response.status}"
        return ApiError(response.status, message, min(seconds, 60.0))


def _parts(
    response: urllib3.BaseHTTPResponse, deadline: float, most: int
) -> Iterator[bytes]:
    """Yield what comes, decompressed by at most a byte more than ``most``."""
    encoded = response.headers.get("Content-Encoding", "") == "gzip"
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoded else None
    while part := response.read1(_READ_BYTES, decode_content=False):
        if time.monotonic() > deadline:
            raise ApiError(response.status, "an answer that does not end")
        yield decoder.decompress(part, most + 1) if decoder else part
        if decoder is not None and decoder.unused_data:
            raise ApiError(response.status, "an answer with more after its end")
    if decoder is not None and not decoder.eof:
        raise ApiError(response.status, "an answer that breaks off")


def _plain(error: BaseException) -> str:
    """Return a message without the pool and object that urllib3 puts before it."""
    reason = getattr(error, "reason", None)
    text = str(reason if isinstance(reason, BaseException) else error)
    return text.rpartition("): ")[2] or text or type(error).__name__
