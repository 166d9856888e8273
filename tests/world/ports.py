"""Ports that nobody listens on."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_FIRST, _COUNT = 20_000, 3_000
"""Of the ports of each process that runs tests beside others, below the ephemeral."""

_handed_out: set[int] = set()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port of loopback that is free now, below the ephemeral range."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    first = _FIRST + _COUNT * (int(worker.removeprefix("gw")) % 4)
    for port in range(first, first + _COUNT):
        if port not in _handed_out and _can_bind(port, kind):
            _handed_out.add(port)
            return port
    raise OSError("no port is free")


def is_listening(port: int, pid: int | str = "self") -> bool:
    """Tell whether a TCP socket listens, in the network namespace of ``pid``.

    Looked up, not tried: a connection would be counted.
    """
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return any(
        fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
        for fields in lines
    )


def _can_bind(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
