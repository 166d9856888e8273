"""The OTLP exporter: a queue of windows and a thread that delivers them in order."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

from ebpf_net.errors import ExportError
from ebpf_net.exporters.cumulative import CumulativeState
from ebpf_net.exporters.edge_blocks import window_series
from ebpf_net.exporters.exporter import Done
from ebpf_net.exporters.latest_gauges import LatestGauges
from ebpf_net.exporters.otlp_encoding import (
    Part,
    Temporality,
    encode_parts,
    resource_metrics_prefix,
    scope_metrics_prefix,
)
from ebpf_net.exporters.otlp_internal import encode_internal
from ebpf_net.exporters.otlp_requests import Request, RequestWriter
from ebpf_net.exporters.otlp_settings import OtlpSettings
from ebpf_net.exporters.otlp_transport import Answer, open_transport
from ebpf_net.metrics import Kind, Metric
from ebpf_net.schema import InternalPoint, Window

_LOGGER = logging.getLogger(__name__)
_ABORT_SECONDS = 1.0  # for the call under way to notice that its channel is closed


@dataclass(frozen=True)
class _Waiting:
    window: Window
    done: Done


@dataclass(frozen=True)
class _InternalPoints:
    points: tuple[InternalPoint, ...]
    now_ns: int


class OtlpExporter:
    """Delivers windows to an OTLP receiver; an Exporter.

    A request that failed for now is tried again with growing delays until the window
    is ``give_up_seconds`` old; what was delivered before it is not sent again.
    """

    def __init__(
        self, settings: OtlpSettings, metrics: Sequence[Metric], name: str = "otlp"
    ) -> None:
        self._settings = settings
        self._metrics = tuple(metrics)
        self._name = name
        self._start_ns = time.time_ns()
        self._latest_end_ns = 0
        self._prefixes = (
            resource_metrics_prefix(settings.resource),
            scope_metrics_prefix(),
        )
        self._transport = open_transport(settings)
        self._totals = CumulativeState(settings.series_limit, settings.stale_windows)
        self._totals_lock = threading.Lock()
        self._overflowed = 0  # of the totals, to be told without their lock
        self._gauges = LatestGauges(settings.series_limit)
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._in_hand = 0
        self._internal: _InternalPoints | None = None
        self._close_at: float | None = None
        self._abandoned = False  # close left a window with no time for it
        self._counts: Counter[tuple[str, str]] = Counter()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def export(self, window: Window, done: Done) -> None:
        """Enqueue a window; the oldest that waits is dropped if there are too many."""
        dropped = []
        with self._changed:
            if self._close_at is not None:
                return
            self._queue.append(_Waiting(window, done))
            while len(self._queue) > self._settings.queue_windows:
                dropped.append(self._queue.popleft())
            self._changed.notify()
        for waiting in dropped:
            self._drop(waiting)

    def export_internal(self, points: Sequence[InternalPoint], now_ns: int) -> None:
        """Send the values after the window in hand; they replace those that wait."""
        with self._changed:
            if self._close_at is None:
                self._internal = _InternalPoints(tuple(points), now_ns)
                self._changed.notify()

    def close(self, timeout_seconds: float) -> None:
        """Deliver what waits, for at most this long; the rest is not answered."""
        with self._changed:
            self._close_at = time.monotonic() + timeout_seconds
            self._changed.notify()
        self._thread.join(timeout_seconds)
        self._transport.close()
        self._thread.join(_ABORT_SECONDS)

    def metrics(self) -> list[InternalPoint]:
        """Return counters of points, requests and windows, and the queue's length."""
        with self._changed:
            counts = dict(self._counts)
            if self._overflowed:
                counts["points", "overflowed"] = self._overflowed
            waiting = len(self._queue) + self._in_hand
        exporter = ("exporter", self._name)
        points = [
            InternalPoint(
                f"ebpf_net.export.{what}", count, (exporter, ("result", result))
            )
            for (what, result), count in sorted(counts.items())
        ]
        queue = InternalPoint("ebpf_net.export.queue_windows", waiting, (exporter,))
        return [*points, queue]

    def _run(self) -> None:
        while (job := self._next_job()) is not None:
            if isinstance(job, _InternalPoints):
                self._send_internal(job)
                continue
            try:
                delivered = self._deliver(self._encode(job.window))
            except Exception:  # as of an edge whose node is not there
                _LOGGER.exception("a window cannot be encoded")
                delivered = False
            if self._abandoned:
                return
            self._count("windows", "success" if delivered else "failed")
            with self._changed:
                self._in_hand = 0
            job.done(delivered)

    def _next_job(self) -> _Waiting | _InternalPoints | None:
        """Wait for something to send; None when closed and all is done."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._queue or self._internal or self._close_at is not None
            )
            if self._queue:
                self._in_hand = 1
                return self._queue.popleft()
            internal, self._internal = self._internal, None
            return internal

    def _encode(self, window: Window) -> Iterator[Request]:
        writer = RequestWriter(*self._prefixes)
        return encode_parts(self._parts(window), writer)

    def _parts(self, window: Window) -> list[Part]:
        temporality, end_ns = self._settings.temporality, window.end_ns
        sums_end_ns = end_ns
        sums = gauges = window_series(window)
        if self._gauges.add(window) and self._gauges.merged:
            gauges = self._gauges.levels()
        if temporality is Temporality.CUMULATIVE:
            with self._totals_lock:
                self._add_to_totals(window)
                sums = self._totals.totals()
            # What came late is in the totals of now, not of then.
            self._latest_end_ns = max(self._latest_end_ns, end_ns)
            sums_end_ns = self._latest_end_ns
        if sums is gauges:
            return [Part(sums, end_ns, self._metrics, temporality)]
        is_gauge = [metric.kind is Kind.GAUGE for metric in self._metrics]
        others = [not gauge for gauge in is_gauge]
        return [
            Part(sums, sums_end_ns, [*compress(self._metrics, others)], temporality),
            Part(gauges, end_ns, [*compress(self._metrics, is_gauge)], temporality),
        ]

    def _deliver(self, requests: Iterable[Request]) -> bool:
        """Send a window's requests; return whether all were taken."""
        give_up_at = time.monotonic() + self._settings.give_up_seconds
        delivered = True
        for request in requests:
            answer = self._send(request, give_up_at)
            if answer is None:
                delivered = False
                self._count("points", "failed", request.points)
                continue
            rejected = min(max(answer.rejected_points, 0), request.points)
            self._count("points", "success", request.points - rejected)
            self._count("points", "rejected", rejected)
            if answer.message:
                _LOGGER.warning("the receiver says: %s", answer.message)
        return delivered

    def _send(self, request: Request, give_up_at: float) -> Answer | None:
        """Send a request until it is taken or refused, or time is over."""
        delay = self._settings.first_delay_seconds
        while not self._is_over(give_up_at):
            try:
                answer = self._transport.send(request.body)
            except ExportError as error:
                self._count("requests", "failed")
                pause = delay * random.uniform(0.5, 1.0)
                pause = max(pause, error.retry_after_seconds or 0.0)
                if not error.retryable or not self._pause(pause, give_up_at):
                    _LOGGER.warning("%d points are lost: %s", request.points, error)
                    return None
                _LOGGER.debug("the receiver is tried again: %s", error)
                delay = min(2 * delay, self._settings.longest_delay_seconds)
            else:
                self._count("requests", "success")
                return answer
        return None

    def _is_over(self, give_up_at: float, wait_seconds: float = 0.0) -> bool:
        """Return whether it will be too late to send after this wait."""
        then = time.monotonic() + wait_seconds
        if self._close_at is not None and then >= self._close_at:
            self._abandoned = True
        return self._abandoned or then >= give_up_at

    def _pause(self, seconds: float, give_up_at: float) -> bool:
        """Wait; return whether there is time for another try."""
        until = time.monotonic() + seconds
        with self._changed:
            while (remaining := until - time.monotonic()) > 0:
                if self._is_over(give_up_at, remaining):
                    return False
                self._changed.wait(remaining)
        return True

    def _send_internal(self, job: _InternalPoints) -> None:
        try:
            request = encode_internal(
                job.points, self._prefixes, self._start_ns, job.now_ns
            )
            self._transport.send(request.body)
        except ExportError as error:
            # The next values come soon and say the same and more.
            self._count("requests", "failed")
            _LOGGER.debug("internal metrics were not delivered: %s", error)
        except Exception:
            self._count("requests", "failed")
            _LOGGER.exception("the internal metrics cannot be encoded")
        else:
            self._count("requests", "success")

    def _drop(self, waiting: _Waiting) -> None:
        self._count("windows", "dropped")
        if self._settings.temporality is Temporality.CUMULATIVE:
            # Later totals contain it, so they must know it.
            with self._totals_lock:
                self._add_to_totals(waiting.window)
        waiting.done(False)

    def _add_to_totals(self, window: Window) -> None:
        self._totals.add(window)
        self._overflowed = self._totals.overflowed

    def _count(self, what: str, result: str, number: int = 1) -> None:
        if number:
            with self._changed:
                self._counts[what, result] += number
