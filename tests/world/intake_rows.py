"""An intake inside a host of the test, as functions for a Worker."""

from __future__ import annotations

from typing import Any

from ebpf_net.intake.options import ServerOptions
from ebpf_net.intake.server import IntakeServer
from ebpf_net.testing.intake import MemorySink

_sink = MemorySink()
_servers: list[IntakeServer] = []


def start_intake() -> int:
    """Listen on loopback for as long as the worker's process lives; return the port."""
    server = IntakeServer(ServerOptions(port=0), _sink)
    server.start()
    _servers.append(server)
    return server.port


def told(table: str) -> list[dict[str, Any]]:
    """Return the rows of a table in windows' batches, as they came."""
    with _sink.changed:
        batches = [batch for batch in _sink.batches if table in batch.tables]
    return [row for batch in batches for row in batch.tables[table].to_pylist()]


def windows() -> list[tuple[int, int]]:
    """Return the beginnings and ends of the windows that came."""
    with _sink.changed:
        headers = [batch.header for batch in _sink.batches]
    return [(header.window_start_ns, header.window_end_ns) for header in headers]


def last_status() -> dict[str, int]:
    """Return the counters that came with the last batch."""
    with _sink.changed:
        return dict(_sink.batches[-1].header.status) if _sink.batches else {}
