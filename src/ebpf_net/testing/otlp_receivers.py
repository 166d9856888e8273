"""OTLP receivers on loopback that answer as they are told, over gRPC and HTTP."""

from __future__ import annotations

import gzip
import queue
import ssl
import threading
from collections.abc import Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)

CLOSE_SECONDS = 5


@dataclass(frozen=True)
class Reply:
    """What a receiver answers: by default that it took the request."""

    code: grpc.StatusCode | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    details: bytes = b""  # a google.rpc.Status
    rejected_points: int = 0
    message: str = ""

    def response(self) -> ExportMetricsServiceResponse:
        """Return the message of a success."""
        if not self.rejected_points and not self.message:
            return ExportMetricsServiceResponse()
        partial_success = ExportMetricsPartialSuccess(
            rejected_data_points=self.rejected_points, error_message=self.message
        )
        return ExportMetricsServiceResponse(partial_success=partial_success)


@dataclass(frozen=True)
class Received:
    """A request that was taken, and the headers (in lower case) that came with it."""

    request: ExportMetricsServiceRequest
    headers: Mapping[str, str]
    path: str = ""


class _Inbox:
    """Replies in the given order, then successes; keeps what it took."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self.received: queue.Queue[Received] = queue.Queue()
        self.refused: queue.Queue[Received] = queue.Queue()
        self._replies = list(replies)
        self._lock = threading.Lock()

    def reply(self, received: Received) -> Reply:
        """Take a request or refuse it."""
        with self._lock:
            reply = self._replies.pop(0) if self._replies else Reply()
        taken = reply.code is None and reply.status == 200
        (self.received if taken else self.refused).put(received)
        return reply


class GrpcReceiver(_Inbox):
    """A gRPC server with the metrics service; a context manager."""

    def __init__(
        self,
        replies: Sequence[Reply] = (),
        port: int = 0,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        super().__init__(replies)
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        inbox = self

        class Servicer(MetricsServiceServicer):
            def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
                metadata = context.invocation_metadata()
                headers = {item.key: str(item.value) for item in metadata}
                reply = inbox.reply(Received(request, headers))
                if reply.details:
                    details = ("grpc-status-details-bin", reply.details)
                    context.set_trailing_metadata((details,))
                if reply.code is not None:
                    context.abort(reply.code, reply.message)
                return reply.response()

        add_MetricsServiceServicer_to_server(Servicer(), self._server)  # type: ignore[no-untyped-call] # generated
        address = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)

    @property
    def endpoint(self) -> str:
        """The URL without TLS."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> GrpcReceiver:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop(0).wait(CLOSE_SECONDS)


class HttpReceiver(_Inbox):
    """An HTTP server that takes OTLP at any path; a context manager."""

    def __init__(
        self,
        replies: Sequence[Reply] = (),
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(replies)
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportMetricsServiceRequest.FromString(body)
                headers = {key.lower(): text for key, text in self.headers.items()}
                reply = inbox.reply(Received(request, headers, self.path))
                answer = reply.response().SerializeToString()
                self.send_response(reply.status)
                for key, text in reply.headers.items():
                    self.send_header(key, text)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """The URL of the metrics signal without TLS."""
        return f"http://127.0.0.1:{self.port}/v1/metrics"

    def __enter__(self) -> HttpReceiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(CLOSE_SECONDS)
