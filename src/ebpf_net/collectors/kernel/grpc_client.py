"""One gRPC call over a UNIX socket: HTTP/2 by h2, messages as bytes.

grpcio would do it too, and hold 37 MB in the collector; h2 holds 2 MB.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from ebpf_net.collectors.kernel.container_api import ApiError
from ebpf_net.collectors.kernel.unix_socket import UnixSocket

OK, NOT_FOUND = 0, 5
_MAX_BYTES = 4 << 20
_READ_BYTES = 1 << 16
_PREFIX = struct.Struct(">BI")
_UNKNOWN = 2


class GrpcError(ApiError):
    """The call failed: ``status`` is one of gRPC's codes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"gRPC status {status}: {message}")
        self.status = status


@dataclass
class _Reply:
    body: bytearray = field(default_factory=bytearray)
    headers: dict[str, str] = field(default_factory=dict)
    is_complete: bool = False


def call(
    socket_path: Path,
    method: str,
    message: bytes,
    timeout_seconds: float,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Call ``/package.Service/Method`` and return its answer.

    Raises ApiError for an answer that says nothing, such as GrpcError where the other
    end says that it failed, and OSError where there is none.
    """
    with contextlib.closing(UnixSocket(socket_path, timeout_seconds)) as connection:
        try:
            reply = _exchange(connection, method, message, metadata or {})
        except h2.exceptions.H2Error as error:
            raise ConnectionError(f"no HTTP/2: {error}") from error
    return _unpack(reply)


def _exchange(
    connection: UnixSocket, method: str, message: bytes, metadata: Mapping[str, str]
) -> _Reply:
    http = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, header_encoding=None)
    )
    http.initiate_connection()
    stream = http.get_next_available_stream_id()
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
        **metadata,
    }
    http.send_headers(stream, list(headers.items()))
    http.send_data(stream, _PREFIX.pack(0, len(message)) + message, end_stream=True)
    reply = _Reply()
    received = 0
    while not reply.is_complete:
        connection.sendall(http.data_to_send())
        data = connection.recv(_READ_BYTES)
        received += len(data)
        if not data:
            raise ConnectionError("the connection was closed before an answer")
        if received > _MAX_BYTES:
            raise ApiError(f"the answer is larger than {_MAX_BYTES} bytes")
        for event in http.receive_data(data):
            _take_event(event, http, reply)
    return reply


def _take_event(
    event: h2.events.Event, http: h2.connection.H2Connection, reply: _Reply
) -> None:
    if isinstance(event, h2.events.DataReceived):
        reply.body += event.data or b""
        if event.flow_controlled_length and event.stream_id:
            http.acknowledge_received_data(
                event.flow_controlled_length, event.stream_id
            )
    elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
        reply.headers |= {
            bytes(key).decode(errors="replace"): bytes(value).decode(errors="replace")
            for key, value in event.headers or ()
        }
    elif isinstance(event, h2.events.StreamEnded):
        reply.is_complete = True
    elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
        raise ConnectionError(f"the call was ended with error {event.error_code}")


def _unpack(reply: _Reply) -> bytes:
    status = reply.headers.get("grpc-status", "")
    if status != str(OK):
        text = reply.headers.get("grpc-message", "no gRPC answer")
        raise GrpcError(int(status) if status.isdecimal() else _UNKNOWN, text[:200])
    if len(reply.body) < _PREFIX.size:
        raise ConnectionError("the answer has no message")
    compressed, length = _PREFIX.unpack_from(reply.body)
    content = bytes(reply.body[_PREFIX.size :])
    if compressed or length != len(content):
        raise ConnectionError("the answer's message is not whole")
    return content
