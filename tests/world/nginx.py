"""A real nginx, and wrk with a number of requests that is known beforehand."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass

from tests.world.hosts import Host
from tests.world.waiting import wait_until

_CONFIGURATION = """\
daemon off;
master_process on;
worker_processes 2;
user root;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  log_format exact '$connection $request_length $bytes_sent $status';
  access_log {directory}/access.log exact;
  keepalive_requests 1000000000;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen {port};
    listen [::]:{port};
    location / {{ return 200 "{body}"; }}
  }}
  server {{
    listen unix:{directory}/status.sock;
    location / {{ stub_status; access_log off; }}
  }}
}}
"""

_WRK_SCRIPT = """\
-- Each thread has one connection and ends after {requests} responses.
wrk.headers["Connection"] = "{connection}"
local count = 0
function response()
  count = count + 1
  if count == {requests} then wrk.thread:stop() end
end
"""


@dataclass(frozen=True)
class AccessLog:
    """The access log, added up; bytes are TCP payload."""

    requests: int
    bytes_received: int
    bytes_sent: int


class Nginx:
    """nginx on a host, with an access log and a counter of accepted connections."""

    def __init__(self, host: Host, port: int, body_bytes: int) -> None:
        self.host = host
        self.port = port
        self._directory = host.directory / "nginx"
        self._directory.mkdir()
        configuration = self._directory / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                directory=self._directory, port=port, body="x" * body_bytes
            )
        )
        arguments = ["nginx", "-p", self._directory, "-c", configuration]
        self._program = host.serve(port, *arguments)

    def count_requests(self) -> int:
        """Return how many requests the log has so far."""
        return (self._directory / "access.log").read_bytes().count(b"\n")

    def read_access_log(self) -> AccessLog:
        """Add up the log so far."""
        lines = (self._directory / "access.log").read_text().splitlines()
        rows = [line.split() for line in lines]
        return AccessLog(
            requests=len(rows),
            bytes_received=sum(int(row[1]) for row in rows),
            bytes_sent=sum(int(row[2]) for row in rows),
        )

    def count_accepted(self) -> int:
        """Return how many connections it accepted, asked through a Unix socket.

        That one connection is taken off.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._directory / "status.sock"))
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
        numbers = answer.split("requests", 1)[1].split()
        return int(numbers[0]) - 1

    def stop(self) -> None:
        self._program.stop()


def run_wrk(
    nginx: Nginx, host: Host, address: str, threads: int, requests: int, close: bool
) -> None:
    """From ``host``, make ``requests`` requests in each of ``threads`` threads.

    Each thread has one connection, or with ``close`` one after the other. No request is
    on its way when wrk ends.
    """
    script = host.directory / "requests.lua"
    connection = "close" if close else "keep-alive"
    script.write_text(_WRK_SCRIPT.format(requests=requests, connection=connection))
    number = str(threads)
    load = host.start(
        *("wrk", "-t", number, "-c", number, "-d", "300", "-s", script),
        f"http://{address}:{nginx.port}/",
    )
    wait_until(lambda: nginx.count_requests() >= threads * requests, 120)
    load.signal(signal.SIGINT)
    load.wait()
