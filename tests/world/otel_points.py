"""What an OpenTelemetry Collector passed on, read from OTLP's JSON encoding."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Point:
    """One data point. ``histogram`` has OTLP's own fields, with numbers as numbers."""

    metric: str
    unit: str
    kind: str  # sum, gauge, histogram or exponentialHistogram
    temporality: int  # 1: delta, 2: cumulative, 0: none
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    scope: str
    value: float
    histogram: Mapping[str, Any]
    start_ns: int
    time_ns: int

    def has(self, attributes: Mapping[str, object]) -> bool:
        return all(self.attributes.get(key) == attributes[key] for key in attributes)


def read_points(document: Mapping[str, Any]) -> Iterator[Point]:
    """Yield the points of one ``ExportMetricsServiceRequest``."""
    for resource_metrics in document.get("resourceMetrics", ()):
        resource = _attributes(resource_metrics.get("resource", {}))
        for scope_metrics in resource_metrics.get("scopeMetrics", ()):
            scope = scope_metrics.get("scope", {}).get("name", "")
            for metric in scope_metrics.get("metrics", ()):
                yield from _read_metric(metric, resource, scope)


def _read_metric(
    metric: Mapping[str, Any], resource: Mapping[str, Any], scope: str
) -> Iterator[Point]:
    kinds = ("sum", "gauge", "histogram", "exponentialHistogram")
    kind = next(kind for kind in kinds if kind in metric)
    for point in metric[kind].get("dataPoints", ()):
        histogram = _histogram(point) if "istogram" in kind else {}
        yield Point(
            metric=metric["name"],
            unit=metric.get("unit", ""),
            kind=kind,
            temporality=metric[kind].get("aggregationTemporality", 0),
            attributes=_attributes(point),
            resource=resource,
            scope=scope,
            value=_number(point, histogram),
            histogram=histogram,
            start_ns=int(point.get("startTimeUnixNano", 0)),
            time_ns=int(point.get("timeUnixNano", 0)),
        )


def _number(point: Mapping[str, Any], histogram: Mapping[str, Any]) -> float:
    if histogram:
        return int(histogram["count"])
    if "asInt" in point:
        return int(point["asInt"])
    return float(point.get("asDouble", 0))


def _histogram(point: Mapping[str, Any]) -> Mapping[str, Any]:
    positive = point.get("positive", {})
    return {
        "count": int(point.get("count", 0)),
        "sum": float(point.get("sum", 0)),
        "scale": int(point.get("scale", 0)),
        "offset": int(positive.get("offset", 0)),
        "bucketCounts": [int(count) for count in positive.get("bucketCounts", ())],
    }


def _attributes(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        item["key"]: next(iter(item.get("value", {}).values()), "")
        for item in holder.get("attributes", ())
    }


class PointServer:
    """An OTLP/HTTP receiver of JSON that keeps every point, in order of arrival."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                server._add(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def points(self) -> list[Point]:
        with self._lock:
            return list(self._points)

    def clear(self) -> None:
        with self._lock:
            self._points.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _add(self, body: bytes) -> None:
        points = list(read_points(json.loads(body)))
        with self._lock:
            self._points += points
