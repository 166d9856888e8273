"""What can be set at either side of the intake."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerOptions:
    """The reducer's side. An empty ``host`` is both loopback addresses."""

    host: str = ""
    port: int = 8000
    allow_insecure: bool = False  # beyond loopback without TLS and token
    token_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None  # asks each client for a certificate
    max_body_bytes: int = 16 << 20
    max_decoded_bytes: int = 64 << 20
    max_rows: int = 1_000_000
    max_buffered_bytes: int = 256 << 20  # bodies being read or waiting to be decoded
    max_decodes: int = 16  # waiting or running; more are told to come again
    decode_threads: int = 2
    max_connections: int = 4096
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    keep_alive_seconds: int = 120
    retry_after_seconds: float = 1.0


@dataclass(frozen=True)
class ClientOptions:
    """The collector's side."""

    host: str = "127.0.0.1"  # a name, an IPv4 or an IPv6 address
    port: int = 8000
    token_file: Path | None = None
    tls: bool = False
    tls_ca: Path | None = None  # None: the system's authorities
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    connect_seconds: float = 5.0
    request_seconds: float = 30.0
    backoff_seconds: float = 0.25  # first step; doubles, with full jitter
    max_backoff_seconds: float = 15.0
    max_retry_after_seconds: float = 300.0
    refused_backoff_seconds: float = 30.0  # after 401 and 403
    poll_seconds: float = 1.0  # asks how far batches are committed, with none to send
    snapshot_batches: int = 30  # a new snapshot is kept on disk after so many windows
