"""A network namespace of the test's own, entered by nobody but who asks for it."""

from __future__ import annotations

import os
import subprocess


class OwnNamespace:
    """A process that holds a namespace with loopback and its rules."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.file = f"/proc/{self._holder.pid}/ns/net"
        self.number = os.stat(self.file).st_ino

    def run(self, *arguments: str, text: str | None = None) -> str:
        enter = ["nsenter", f"--net={self.file}", "--", *arguments]
        done = subprocess.run(
            enter, check=True, text=True, capture_output=True, input=text
        )
        return done.stdout

    def translate(self) -> None:
        """Make connections to port 80 those to port 8080."""
        rule = "tcp dport 80 redirect to :8080"
        chain = f"chain c {{ type nat hook output priority -100\n {rule}\n }}"
        self.run("nft", "-f", "-", text=f"table ip n {{\n{chain}\n}}")

    def connect(self, port: int = 80) -> None:
        """Make a connection to 127.0.0.1, which stays in TIME_WAIT."""
        script = (
            "import socket as s; a = s.create_server(('127.0.0.1', 8080));"
            f"b = s.create_connection(('127.0.0.1', {port})); c = a.accept()[0];"
            "b.close(); c.close()"
        )
        self.run("python3", "-c", script)

    def connect_plainly(self) -> None:
        """Make a connection that is tracked, and not translated."""
        rule = "chain c { type filter hook output priority 0\n ct state new accept\n }"
        self.run("nft", "-f", "-", text=f"table ip f {{\n{rule}\n}}")
        self.connect(8080)

    def close(self) -> None:
        self._holder.communicate()
