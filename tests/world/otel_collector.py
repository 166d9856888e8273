"""A real OpenTelemetry Collector, built by its own builder from its Go modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.world.cache import build_once
from tests.world.go import run_go
from tests.world.otel_points import Point, PointServer
from tests.world.ports import free_port, is_listening
from tests.world.programs import Program
from tests.world.waiting import wait_until

VERSION = "v0.165.0"
_PARTS = {
    "receivers": ("receiver/otlpreceiver",),
    "processors": ("processor/batchprocessor",),
    "exporters": ("exporter/debugexporter", "exporter/otlphttpexporter"),
}
_MODULE = "go.opentelemetry.io/collector"

_CONFIGURATION = """\
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc_port}"{tls}}}
      http: {{endpoint: "127.0.0.1:{http_port}"{tls}}}
processors:
  batch: {{timeout: 100ms}}
exporters:
  debug: {{}}
  otlphttp:
    endpoint: "http://127.0.0.1:{points_port}"
    encoding: json
    compression: none
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    metrics: {{receivers: [otlp], processors: [batch], exporters: [debug, otlphttp]}}
"""


class OtelCollector:
    """The Collector with gRPC and HTTP receivers, and every point that it passed on."""

    def __init__(self, directory: Path, tls: tuple[Path, Path] | None = None) -> None:
        self._server = PointServer()
        self._grpc_port = free_port()
        self._http_port = free_port()
        self._scheme = "https" if tls else "http"
        self._log = directory / "otel-collector.log"
        self._configuration = directory / "otel-collector.yaml"
        files = f", tls: {{cert_file: {tls[0]}, key_file: {tls[1]}}}" if tls else ""
        self._configuration.write_text(
            _CONFIGURATION.format(
                grpc_port=self._grpc_port,
                http_port=self._http_port,
                points_port=self._server.port,
                tls=files,
            )
        )
        self._program: Program | None = None
        self.start()

    @property
    def grpc_endpoint(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._grpc_port}"

    @property
    def http_endpoint(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._http_port}"

    @property
    def grpc_port(self) -> int:
        return self._grpc_port

    def start(self) -> None:
        """Start it, again after ``stop`` on the same ports."""
        command = build_collector()
        self._program = Program([command, "--config", self._configuration], self._log)
        pid = self._program.pid
        ports = (self._grpc_port, self._http_port)
        self._program.wait_ready(lambda: all(is_listening(p, pid) for p in ports))

    def stop(self) -> None:
        """End it; what it received has been passed on by then."""
        assert self._program is not None
        self._program.stop()

    def close(self) -> None:
        self.stop()
        self._server.close()

    def points(
        self, metric: str = "", attributes: Mapping[str, object] | None = None
    ) -> list[Point]:
        """Return the points of a metric whose attributes include these."""
        return [
            point
            for point in self._server.points()
            if point.metric == (metric or point.metric) and point.has(attributes or {})
        ]

    def total(self, metric: str, attributes: Mapping[str, object]) -> float:
        """Return the sum of delta points, or of the counts of delta histograms."""
        points = self.points(metric, attributes)
        assert all(point.temporality == 1 for point in points)
        return sum(point.value for point in points)

    def distinct_total(self, metric: str, attributes: Mapping[str, object]) -> float:
        """Return ``total`` with a point that came again, exactly as before, once.

        A reducer that was killed sends again what nobody had said to have received.
        """
        points = {
            (frozenset(point.attributes.items()), point.time_ns, point.value)
            for point in self.points(metric, attributes)
        }
        return sum(value for _, _, value in points)

    def last(self, metric: str, attributes: Mapping[str, object]) -> float:
        """Return the sum of a gauge's values at its last time; 0 if there is none."""
        points = self.points(metric, attributes)
        latest = max((point.time_ns for point in points), default=0)
        return sum(point.value for point in points if point.time_ns == latest)

    def wait_until(
        self, condition: Callable[[OtelCollector], object], timeout_seconds: float = 60
    ) -> None:
        """Wait until ``condition(self)``; the error says how many points there are."""
        wait_until(
            lambda: condition(self),
            timeout_seconds,
            lambda: f"{len(self._server.points())} points arrived",
        )


def build_collector() -> Path:
    """Return the Collector's executable, built at the first call on a machine."""
    return build_once(f"otel-collector-{VERSION}", _build) / "out" / "otel-collector"


def _build(directory: Path) -> None:
    lines = ["dist:", "  name: otel-collector", "  output_path: ./out"]
    for kind, names in _PARTS.items():
        lines.append(f"{kind}:")
        lines += [f"  - gomod: {_MODULE}/{name} {VERSION}" for name in names]
    configuration = directory / "builder.yaml"
    configuration.write_text("\n".join(lines) + "\n")
    builder = f"{_MODULE}/cmd/builder@{VERSION}"
    run_go(directory, "run", builder, "--config", configuration)


@contextmanager
def run_otel_collector(
    directory: Path, tls: tuple[Path, Path] | None = None
) -> Iterator[OtelCollector]:
    """Run a Collector with its files in ``directory``."""
    collector = OtelCollector(directory, tls)
    try:
        yield collector
    finally:
        collector.close()


@pytest.fixture
def otel_collector(tmp_path: Path) -> Iterator[OtelCollector]:
    """A running OpenTelemetry Collector of this test's own."""
    with run_otel_collector(tmp_path) as collector:
        yield collector
