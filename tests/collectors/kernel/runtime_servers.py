"""Servers on UNIX sockets that stand for container runtimes: HTTP, gRPC, and none."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import threading
import time
from concurrent import futures

import grpc


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        status, body = self.server.answers.pop(0) if self.server.answers else (404, b"")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "docker"

    def log_message(self, *args):
        pass


class _HttpServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def http_server(path):
    """Answer with ``answers``, (status, body), in turn; ``asked`` has the paths."""
    with _HttpServer(str(path), _Handler) as server:
        server.asked, server.answers, server.path = [], [], path
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class _AnyMethod(grpc.GenericRpcHandler):
    def __init__(self, answer):
        self._answer = answer

    def service(self, call):
        metadata = dict(call.invocation_metadata)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._answer(
                call.method, request, metadata, context
            )
        )


@contextlib.contextmanager
def grpc_server(path, answer):
    """Answer calls by ``answer(method, request, metadata, context)``, all in bytes."""
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[_AnyMethod(answer)])
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        yield server
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def raw_server(path, content, pause_seconds=0.0):
    """Send bytes to who connects, with a pause after each if one is given."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        stopped = threading.Event()

        def serve():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    step = 1 if pause_seconds else max(len(content), 1)
                    for start in range(0, len(content), step):
                        connection.sendall(content[start : start + step])
                        if stopped.wait(pause_seconds):
                            return
                    stopped.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            stopped.set()
            with socket.socket(socket.AF_UNIX) as last, contextlib.suppress(OSError):
                last.connect(str(path))
            thread.join()


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return result
