"""What the reducer hands its windows to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ebpf_net.schema import InternalPoint, Window

Done = Callable[[bool], None]
"""Told once: whether a window has been delivered; False if it was given up. It may be
called on any thread, also within ``export``, and must not block.

What ``close`` leaves undelivered is never answered: the collectors keep it and send it
to the next reducer, which makes the same window of it."""


class Exporter(Protocol):
    """A way out. None of the methods blocks but ``close``."""

    def export(self, window: Window, done: Done) -> None:
        """Take a window; ``done`` is called when it needs no longer be kept."""

    def export_internal(self, points: Sequence[InternalPoint], now_ns: int) -> None:
        """Take the values of the ``ebpf_net.*`` metrics at a time."""

    def close(self, timeout_seconds: float) -> None:
        """Deliver what waits, for at most this long, and leave the rest unanswered."""

    def metrics(self) -> list[InternalPoint]:
        """Return the exporter's own metrics."""
