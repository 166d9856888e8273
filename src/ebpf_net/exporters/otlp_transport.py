"""One OTLP request to a receiver, over gRPC or HTTP, and what its answer means.

https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

import gzip
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import grpc
import urllib3

from ebpf_net.errors import ExportError, SettingError
from ebpf_net.exporters.otlp_encoding import package_version
from ebpf_net.exporters.otlp_settings import OtlpProtocol, OtlpSettings
from ebpf_net.exporters.protobuf_wire import WireError, read_fields
from ebpf_net.intake.authorities import trusting

GRPC_METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_CONTENT_TYPE = "application/x-protobuf"
_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
_RETRYABLE_STATUS = frozenset((429, 502, 503, 504))
# A call fails at once while the channel waits to connect again; the exporter waits.
_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
# An answer is a few fields; one that is longer is not read.
_ANSWER_BYTES = 65_536

# OTLP specification, "Failures": the codes that a client should try again.
_RETRYABLE_CODES = frozenset(
    (
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)


@dataclass(frozen=True)
class Answer:
    """A receiver's answer to a request that it took."""

    rejected_points: int = 0
    message: str = ""


class Transport(Protocol):
    """A connection to a receiver."""

    def send(self, body: bytes) -> Answer:
        """Send a request and wait for its answer; raise ExportError."""

    def close(self) -> None:
        """Close the connection; a request under way fails."""


def open_transport(settings: OtlpSettings) -> Transport:
    """Return a transport that connects when it is first used; raise SettingError."""
    if settings.protocol is OtlpProtocol.GRPC:
        return GrpcTransport(settings)
    return HttpTransport(settings)


class GrpcTransport:
    """Unary calls on one channel."""

    def __init__(self, settings: OtlpSettings) -> None:
        parts = urlsplit(settings.endpoint)
        port = parts.port or (443 if settings.secure else 80)
        host = parts.hostname or ""
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        options = (*_CHANNEL_OPTIONS, ("grpc.primary_user_agent", _user_agent()))
        compression = grpc.Compression.Gzip if settings.gzip else None
        if settings.secure:
            self._channel = grpc.secure_channel(
                target, _channel_credentials(settings), options, compression
            )
        else:
            self._channel = grpc.insecure_channel(target, options, compression)
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = (
            self._channel.unary_unary(GRPC_METHOD)
        )
        self._metadata = tuple((key.lower(), text) for key, text in settings.headers)
        self._timeout_seconds = settings.timeout_seconds

    def send(self, body: bytes) -> Answer:
        """Send a request and wait for its answer; raise ExportError."""
        try:
            answer = self._call(
                body, timeout=self._timeout_seconds, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise _grpc_error(error) from None
        except ValueError as error:  # the channel is closed
            raise ExportError(str(error), retryable=False) from None
        return read_answer(answer)

    def close(self) -> None:
        """Close the channel; a call under way is cancelled."""
        self._channel.close()


class HttpTransport:
    """POST requests over kept connections."""

    def __init__(self, settings: OtlpSettings) -> None:
        self._endpoint = settings.endpoint
        self._gzip = settings.gzip
        self._headers = dict(settings.headers) | {
            "Content-Type": _CONTENT_TYPE,
            "User-Agent": _user_agent(),
        }
        if settings.gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=settings.timeout_seconds),
            retries=False,
            ssl_context=_ssl_context(settings) if settings.secure else None,
        )

    def send(self, body: bytes) -> Answer:
        """Send a request and wait for its answer; raise ExportError."""
        content = gzip.compress(body, 1) if self._gzip else body
        try:
            response = self._pool.request(
                "POST",
                self._endpoint,
                body=content,
                headers=self._headers,
                preload_content=False,
            )
            answer = response.read(_ANSWER_BYTES)
            if response.length_remaining:
                response.close()
            response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ExportError(str(error), retryable=True) from None
        if response.status == 200:
            return read_answer(answer)
        retryable = response.status in _RETRYABLE_STATUS
        raise ExportError(
            f"{self._endpoint} answered {response.status}",
            retryable=retryable,
            retry_after_seconds=read_retry_after(
                response.headers.get("Retry-After", ""), datetime.now(UTC)
            ),
        )

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.clear()


def read_answer(answer: bytes) -> Answer:
    """Read an ExportMetricsServiceResponse; one that cannot be read says nothing."""
    rejected, message = 0, ""
    try:
        for number, partial_success in read_fields(answer):
            if number != 1 or not isinstance(partial_success, bytes):
                continue
            for field, value in read_fields(partial_success):
                if field == 1 and isinstance(value, int):
                    rejected = value
                elif field == 2 and isinstance(value, bytes):
                    message = value.decode(errors="replace")
    except WireError:
        return Answer()
    return Answer(rejected if rejected < 1 << 63 else 0, message)


def read_retry_delay(status: bytes) -> float | None:
    """Return the seconds of a RetryInfo in a google.rpc.Status, if there is one."""
    try:
        for number, detail in read_fields(status):
            if number != 3 or not isinstance(detail, bytes):
                continue
            fields = dict(read_fields(detail))
            value = fields.get(2, b"")
            if fields.get(1) == _RETRY_INFO and isinstance(value, bytes):
                return _duration(dict(read_fields(value)).get(1, b""))
    except WireError:
        return None
    return None


def _duration(message: int | bytes) -> float:
    if not isinstance(message, bytes):
        return 0.0
    fields = dict(read_fields(message))
    seconds, nanoseconds = fields.get(1, 0), fields.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanoseconds, int):
        return 0.0
    if seconds >= 1 << 63:  # negative
        return 0.0
    return seconds + min(nanoseconds, 999_999_999) / 1e9


def _grpc_error(error: grpc.RpcError) -> ExportError:
    code, details = error.code(), error.details()
    delay = None
    for item in error.trailing_metadata() or ():
        if item.key == "grpc-status-details-bin":
            delay = read_retry_delay(bytes(item.value))
    throttled = code is grpc.StatusCode.RESOURCE_EXHAUSTED and delay is not None
    return ExportError(
        f"{code.name.lower()}: {details}",
        retryable=throttled or code in _RETRYABLE_CODES,
        retry_after_seconds=delay,
    )


def _channel_credentials(settings: OtlpSettings) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        _read(settings.certificate),
        _read(settings.client_key),
        _read(settings.client_certificate),
    )


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from None


def _ssl_context(settings: OtlpSettings) -> ssl.SSLContext:
    try:
        context = trusting(settings.certificate)
    except OSError as error:
        raise SettingError(
            f"{settings.certificate}: {error.strerror or error}"
        ) from None
    if settings.client_certificate:
        try:
            context.load_cert_chain(settings.client_certificate, settings.client_key)
        except OSError as error:
            raise SettingError(
                f"{settings.client_certificate}: {error.strerror or error}"
            ) from None
    return context


def _user_agent() -> str:
    return f"ebpf-net/{package_version() or '0'}"


def read_retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header: a number, or a date (RFC 9110)."""
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - now).total_seconds(), 0.0)
