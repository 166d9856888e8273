"""Counts what comes in and what is refused, and logs refusals sparingly."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping

from ebpf_net.schema import InternalPoint

LOG_SECONDS = 30.0

REASONS: Mapping[str, str] = {
    "tls": "a TLS handshake that failed",
    "http": "not HTTP, or a head that is too long",
    "slow": "a head or a body that did not come in time",
    "connections": "more connections than the limit",
    "not_found": "another path",
    "method": "another method",
    "unauthorized": "no token or a wrong one",
    "content_type": "another Content-Type",
    "content_encoding": "a Content-Encoding other than zstd",
    "too_large": "a body over the limit",
    "disconnected": "the sender went away in the middle of a body",
    "header": "an Ebpf-Net-* header that is missing or wrong",
    "busy": "more bodies at once than the limit",
    "overloaded": "the reducer has fallen behind",
    "internal": "a fault of ours",
}
"""Why a request is refused, beside ``decode.REASONS``."""

logger = logging.getLogger(__name__)


class IntakeCounters:
    """What the intake has seen since its start; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._logged: dict[str, tuple[float, int]] = {}
        self._bytes = 0
        self._batches = 0
        self._duplicates = 0

    def read(self, size: int) -> None:
        """Count the bytes of a body."""
        with self._lock:
            self._bytes += size

    def accepted(self, rows: Mapping[str, int], *, duplicate: bool) -> None:
        """Count a batch that got a receipt."""
        with self._lock:
            if duplicate:
                self._duplicates += 1
                return
            self._batches += 1
            self._rows.update(rows)

    def refused(self, reason: str, message: str, client: str) -> bool:
        """Count a refusal; log it unless the reason was logged a moment ago.

        Returns whether it was logged.
        """
        more = self._count(self._refused, reason)
        if more is None:
            return False
        logger.warning("refused %s: %s (%s)%s", client, message, reason, _others(more))
        return True

    def skipped(self, reason: str, message: str, client: str) -> None:
        """Count what was left out of a batch; log it unless that was done just now."""
        more = self._count(self._skipped, reason)
        if more is not None:
            others = _others(more)
            logger.warning("skipped of %s: %s (%s)%s", client, message, reason, others)

    def _count(self, counts: Counter[str], reason: str) -> int | None:
        """Count; return how many were not logged, None: this is not to be logged."""
        now = time.monotonic()
        with self._lock:
            counts[reason] += 1
            logged, count = self._logged.get(reason, (-LOG_SECONDS, 0))
            if now - logged < LOG_SECONDS:
                return None
            self._logged[reason] = (now, counts[reason])
            return counts[reason] - count - 1

    def points(self) -> list[InternalPoint]:
        """Return the counters as metrics."""
        with self._lock:
            points = [
                InternalPoint("ebpf_net.intake.bytes", self._bytes),
                InternalPoint("ebpf_net.intake.batches", self._batches),
                InternalPoint("ebpf_net.intake.duplicates", self._duplicates),
            ]
            rows, refused = dict(self._rows), dict(self._refused)
            skipped = dict(self._skipped)
        points += [
            InternalPoint("ebpf_net.intake.rows", count, (("table", table),))
            for table, count in sorted(rows.items())
        ]
        points += [
            InternalPoint("ebpf_net.intake.refused", count, (("reason", reason),))
            for reason, count in sorted(refused.items())
        ]
        points += [
            InternalPoint("ebpf_net.intake.skipped", count, (("reason", reason),))
            for reason, count in sorted(skipped.items())
        ]
        return points


def _others(more: int) -> str:
    return f", and {more} more since the last such line" if more else ""
