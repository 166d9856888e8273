"""The client's HTTP connection to the reducer: one address at a time, kept open.

The name is resolved anew for each connection and every address is tried. Certificates
and the token are read again when a connection is made or the file changes.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    SSLError,
)

from ebpf_net.errors import SettingError
from ebpf_net.intake.authorities import trusting
from ebpf_net.intake.batch import CONTENT_TYPE, PATH, Batch
from ebpf_net.intake.headers import identity_headers, to_headers
from ebpf_net.intake.options import ClientOptions
from ebpf_net.intake.reply import Reply
from ebpf_net.intake.tokens import TokenFile

_MAX_REPLY_BYTES = 65_536
_HANGING_UP = (
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,  # the same in Debian 12's Python
    ConnectionResetError,
    BrokenPipeError,
)
_UNREACHABLE = (ConnectTimeoutError, NewConnectionError, SSLError)


class ConnectionFailed(Exception):
    """No answer: the name, the address, the connection, TLS or the time."""


class IntakeConnection:
    """For one thread."""

    def __init__(self, options: ClientOptions) -> None:
        """Check the options; raises SettingError."""
        self._options = options
        self._host = options.host.strip("[]")
        self._tokens = TokenFile(options.token_file) if options.token_file else None
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._first = 0  # of the addresses; moves on after each failure
        if options.tls:
            _client_tls(options)

    def post(self, batch: Batch, seconds: float | None = None) -> Reply:
        """Send a batch; raises ConnectionFailed."""
        headers = {
            **to_headers(batch.header, time.time_ns()),
            "Content-Type": CONTENT_TYPE,
            "Content-Encoding": "zstd",
        }
        return self._request("POST", headers, batch.body, seconds)

    def progress(
        self, collector: str, incarnation: str, seconds: float | None = None
    ) -> Reply:
        """Ask for an incarnation's receipt; raises ConnectionFailed."""
        headers = identity_headers(collector, incarnation)
        return self._request("GET", headers, None, seconds)

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _request(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: float | None,
    ) -> Reply:
        timeout = min(seconds or self._options.request_seconds, 1e6)
        if self._pool is not None:
            try:
                return self._ask(self._pool, method, headers, body, timeout)
            except _Stale:
                self.close()  # the reducer restarted, or the connection idled too long
        failures = []
        addresses = self._resolve()
        for _ in addresses:
            address = addresses[self._first % len(addresses)]
            self._pool = self._make_pool(address)
            try:
                return self._ask(self._pool, method, headers, body, timeout)
            except _Stale as error:
                self.close()
                self._first += 1
                failures.append(f"{address}: {error}{self._hint(error)}")
                if not error.unreachable:
                    break
        raise ConnectionFailed("; ".join(failures))

    def _ask(
        self,
        pool: urllib3.HTTPConnectionPool,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: float,
    ) -> Reply:
        connect = min(self._options.connect_seconds, seconds)
        try:
            response = pool.urlopen(
                method,
                PATH,
                body=body,
                headers={**headers, **self._own_headers()},
                timeout=urllib3.Timeout(connect=connect, read=seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            data = response.read(_MAX_REPLY_BYTES)
            response.release_conn()
        except (HTTPError, OSError) as error:
            raise _Stale(error) from error
        return Reply(response.status, data, _retry_after(response.headers))

    def _hint(self, error: _Stale) -> str:
        """A reducer that wants a certificate says so by hanging up."""
        if not self._options.tls or not error.hung_up:
            return ""
        if self._options.tls_certificate is None:
            return " (does the reducer want a client certificate?)"
        return " (does the reducer accept the client certificate?)"

    def _own_headers(self) -> dict[str, str]:
        options = self._options
        host = f"[{self._host}]" if ":" in self._host else self._host
        headers = {"Host": f"{host}:{options.port}", "User-Agent": "ebpf-net"}
        if self._tokens is not None:
            headers["Authorization"] = f"Bearer {self._tokens.first()}"
        return headers

    def _resolve(self) -> list[str]:
        try:
            found = socket.getaddrinfo(
                self._host, self._options.port, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:
            raise ConnectionFailed(f"cannot resolve {self._host!r}: {error}") from error
        return list(dict.fromkeys(str(name[0]) for *_, name in found))

    def _make_pool(self, address: str) -> urllib3.HTTPConnectionPool:
        options = self._options
        if not options.tls:
            return urllib3.HTTPConnectionPool(address, options.port, maxsize=1)
        try:
            context = _client_tls(options)
        except SettingError as error:
            raise ConnectionFailed(str(error)) from error
        return urllib3.HTTPSConnectionPool(
            address,
            options.port,
            maxsize=1,
            ssl_context=context,
            server_hostname=self._host,
        )


class _Stale(Exception):
    """A connection that gave no answer."""

    def __init__(self, error: Exception) -> None:
        super().__init__(_plain(error))
        self.unreachable = isinstance(error, _UNREACHABLE)
        causes = (error, error.__cause__, *error.args)
        self.hung_up = any(_is_hanging_up(cause) for cause in causes)


def _is_hanging_up(cause: object) -> bool:
    if isinstance(cause, _HANGING_UP):
        return True
    # What OpenSSL 3.5 says at the first read after a write that failed.
    return (
        isinstance(cause, ssl.SSLError)
        and cause.reason == "UNEXPECTED_EOF_WHILE_READING"
    )


def _client_tls(options: ClientOptions) -> ssl.SSLContext:
    try:
        context = trusting(options.tls_ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if options.tls_certificate is not None:
            context.load_cert_chain(options.tls_certificate, options.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(f"cannot use the TLS certificate: {error}") from error
    return context


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After (RFC 9110, section 10.2.3): seconds or a date."""
    text = headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None


def _plain(error: Exception) -> str:
    """Return the system's words where there are some, not the library's around them."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(error)
