"""The Prometheus exporter: counters kept here, and the endpoint that shows them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ebpf_net.exporters.cumulative import CumulativeState
from ebpf_net.exporters.exporter import Done
from ebpf_net.exporters.latest_gauges import LatestGauges
from ebpf_net.exporters.prometheus_text import render_internal, render_metrics
from ebpf_net.metrics import Metric
from ebpf_net.schema import InternalPoint, Window

Render = Callable[[bool], bytes]
"""Returns the text: as OpenMetrics, or else in the format 0.0.4."""

OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS_VERSIONS = ("", "1.0.0")


class PrometheusExporter:
    """Keeps totals and the latest gauges for any number of scrapers; an Exporter.

    Text is rendered when it is first asked for after a window, and kept until the next.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        series_limit: int = 100_000,
        stale_windows: int = 30,
    ) -> None:
        self._metrics = tuple(metrics)
        self._state_lock = threading.Lock()
        self._totals = CumulativeState(series_limit, stale_windows)
        self._gauges = LatestGauges(series_limit)
        self._internal: tuple[InternalPoint, ...] = ()
        self._version = 0
        self._render_lock = threading.Lock()
        self._rendered: dict[bool, tuple[int, bytes]] = {}

    def export(self, window: Window, done: Done) -> None:
        """Add a window; it counts as delivered at once."""
        with self._state_lock:
            self._totals.add(window)
            self._gauges.add(window)
            self._version += 1
        done(True)

    def export_internal(self, points: Sequence[InternalPoint], now_ns: int) -> None:  # noqa: ARG002 - the scraper sets the time
        """Take the values that ``render_internal`` returns."""
        self._internal = tuple(points)

    def close(self, timeout_seconds: float) -> None:
        """Do nothing: nothing waits here."""

    def metrics(self) -> list[InternalPoint]:
        """Return how many rows had to go to an overflow series."""
        with self._state_lock:
            overflowed = self._totals.overflowed
        labels = (("exporter", "prometheus"), ("result", "overflowed"))
        return [InternalPoint("ebpf_net.export.points", overflowed, labels)]

    def render(self, openmetrics: bool) -> bytes:
        """Return the text of the flow metrics."""
        with self._render_lock:
            with self._state_lock:
                version = self._version
                known = self._rendered.get(openmetrics)
                if known and known[0] == version:
                    return known[1]
                totals = self._totals.totals()
                gauges = self._gauges.levels() if version else {}
            text = render_metrics(totals, gauges, self._metrics, openmetrics)
            self._rendered[openmetrics] = (version, text)
            return text

    def render_internal(self, openmetrics: bool) -> bytes:
        """Return the text of the ``ebpf_net.*`` metrics."""
        return render_internal(self._internal, openmetrics)


def metrics_app(render: Render) -> Starlette:
    """Return an application that answers ``GET /metrics``."""
    compressed: dict[bool, tuple[bytes, bytes]] = {}
    lock = threading.Lock()

    def compress(openmetrics: bool, text: bytes) -> bytes:
        with lock:
            if openmetrics not in compressed or compressed[openmetrics][0] is not text:
                compressed[openmetrics] = (text, gzip.compress(text, 1))
            return compressed[openmetrics][1]

    def show(request: Request) -> Response:
        openmetrics = wants_openmetrics(request.headers.get("accept", ""))
        headers = {
            "Content-Type": OPENMETRICS_TYPE if openmetrics else TEXT_TYPE,
            "Vary": "Accept, Accept-Encoding",
        }
        text = render(openmetrics)
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            headers["Content-Encoding"] = "gzip"
            text = compress(openmetrics, text)
        return Response(text, headers=headers)

    return Starlette(routes=[Route("/metrics", show, methods=["GET"])])


def wants_openmetrics(accept: str) -> bool:
    """Return whether OpenMetrics 1.0 is what the client would rather have."""
    weights = {True: 0.0, False: 0.0}
    for media_type, parameters, weight in _preferences(accept):
        if media_type == "application/openmetrics-text":
            if parameters.get("version", "") in _OPENMETRICS_VERSIONS:
                weights[True] = max(weights[True], weight)
        elif media_type in ("text/plain", "text/*", "*/*"):
            weights[False] = max(weights[False], weight)
    return weights[True] > 0 and weights[True] >= weights[False]


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether the client takes gzip."""
    return any(
        coding in ("gzip", "*") and weight > 0
        for coding, _, weight in _preferences(accept_encoding)
    )


def _preferences(header: str) -> list[tuple[str, dict[str, str], float]]:
    """Read ``value;parameter=x;q=0.5, ...`` (RFC 9110 section 12.4.2)."""
    found = []
    for item in header.split(","):
        value, *rest = (part.strip() for part in item.lower().split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        try:
            weight = float(parameters.get("q", "1"))
        except ValueError:
            weight = 0.0
        found.append((value, parameters, weight))
    return found
