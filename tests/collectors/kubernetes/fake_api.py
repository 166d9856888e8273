"""An API server at the wire, for faults that a real one does not make on demand."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Answer:
    """``lines`` are events of a watch; then it ends, breaks off or stays open."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    lines: tuple[bytes, ...] | None = None
    then: str = "end"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    client: tuple[str, int]

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "true"


def listed(*items: Any, version: str = "10", more: str = "") -> Answer:
    page = {"metadata": {"resourceVersion": version}, "items": list(items)}
    if more:
        page["metadata"] = {"resourceVersion": version, "continue": more}
    return Answer(json.dumps(page).encode())


def failed(status: int, message: str = "m", **headers: str) -> Answer:
    document = {"kind": "Status", "code": status, "message": message}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(json.dumps(document).encode(), status, given)


def event(kind: str, item: Any) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def streamed(*lines: bytes, then: str = "end") -> Answer:
    return Answer(lines=lines, then=then)


HOLD = streamed(then="hold")


class FakeApi:
    """Answers in order; a watch that nothing is left for stays open."""

    def __init__(
        self, answers: Iterable[Answer] = (), **named: Iterable[Answer]
    ) -> None:
        self.answers: dict[str, deque[Answer]] = defaultdict(deque)
        self.answers[""].extend(answers)
        for name, more in named.items():
            self.answers[name].extend(more)
        self.requests: list[Request] = []
        self.changed = threading.Condition()
        self.ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Request) -> Answer:
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
            for name in (request.path.rpartition("/")[2], ""):
                if self.answers[name]:
                    return self.answers[name].popleft()
        return HOLD if request.is_watch else listed()

    def wait_for_requests(self, count: int) -> list[Request]:
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.requests) >= count, 20):
                raise TimeoutError(f"{len(self.requests)} requests: {self.requests}")
            return self.requests[:count]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: FakeApi

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Not said."""

    def _answer(self) -> None:
        api = self.server.api  # type: ignore[attr-defined]  # it is _Server
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = dict(parse_qsl(url.query))
        request = Request(
            self.command,
            url.path,
            query,
            dict(self.headers),
            body,
            self.client_address,
        )
        answer = api.answer(request)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.lines is None:
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in answer.lines:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()
        if answer.then == "end":
            self.wfile.write(b"0\r\n\r\n")
            return
        if answer.then == "hold":
            api.ended.wait(60)
        self.close_connection = True
