"""A proxy between client and server that loses, repeats, delays and reorders."""

import http.client
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FaultyProxy:
    """Listens on a port of its own and forwards to ``port``, which may change."""

    def __init__(self, port, seed, faults=0.3):
        self.port = port
        self.chance = random.Random(seed)
        self.faults = faults
        self.counts = Counter()
        self.stale = []
        self.lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                proxy.handle(self)

            do_GET = do_POST  # noqa: N815 - the name is http.server's

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.own_port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def choose(self):
        with self.lock:
            if self.chance.random() >= self.faults:
                return "forward"
            kinds = ("lose_request", "lose_reply", "repeat", "delay", "keep", "old")
            kind = self.chance.choice(kinds)
            self.counts[kind] += 1
            return kind

    def handle(self, client):
        body = client.rfile.read(int(client.headers.get("Content-Length", 0)))
        request = (client.command, client.path, body, dict(client.headers))
        fault = self.choose()
        if fault == "lose_request":
            client.close_connection = True
            return
        if fault == "delay":
            time.sleep(0.02)  # what a slow network does
        if fault == "repeat":
            self.forward(request)
        if fault == "keep":
            self.stale.append(request)
        if fault == "old" and self.stale:
            self.forward(self.stale.pop(0))
        answer = self.forward(request)
        if fault == "lose_reply" or answer is None:
            client.close_connection = True
            return
        status, headers, content = answer
        client.send_response(status)
        for name in ("Retry-After", "Content-Type"):
            if name in headers:
                client.send_header(name, headers[name])
        client.send_header("Content-Length", str(len(content)))
        client.end_headers()
        client.wfile.write(content)

    def forward(self, request):
        method, path, body, headers = request
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        except OSError:
            return None
        finally:
            connection.close()
