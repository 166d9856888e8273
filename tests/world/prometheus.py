"""A real Prometheus that scrapes given targets once a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from tests.world.ports import free_port, is_listening
from tests.world.programs import Program
from tests.world.waiting import wait_until

_CONFIGURATION = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: ebpf-net
    static_configs: [{{targets: {targets}}}]
"""


@dataclass(frozen=True)
class Series:
    """One series of an instant query's answer."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """Its HTTP API, as far as tests need it."""

    def __init__(self, directory: Path, targets: Sequence[str]) -> None:
        self._port = free_port()
        self._http = urllib3.PoolManager(retries=False)
        configuration = directory / f"prometheus-{self._port}.yaml"
        configuration.write_text(
            _CONFIGURATION.format(targets=json.dumps(list(targets)))
        )
        self._program = Program(
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={directory}/prometheus-{self._port}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            directory / f"prometheus-{self._port}.log",
        )
        pid = self._program.pid
        self._program.wait_ready(lambda: is_listening(self._port, pid))
        wait_until(lambda: self._get("/-/ready")[0] == 200, 30)

    def query(self, expression: str) -> list[Series]:
        """Evaluate a PromQL expression now."""
        status, body = self._get("/api/v1/query", query=expression)
        answer = json.loads(body)
        if status != 200:
            raise ValueError(f"{expression}: {answer['error']}")
        return [
            Series(labels=row["metric"], value=float(row["value"][1]))
            for row in answer["data"]["result"]
        ]

    def value(self, expression: str) -> float:
        """Return the one value of an expression, and 0 where there is none."""
        series = self.query(expression)
        assert len(series) <= 1, series
        return series[0].value if series else 0.0

    def targets(self) -> list[Mapping[str, str]]:
        """Return the active targets: ``health``, ``lastError`` and others."""
        answer = json.loads(self._get("/api/v1/targets")[1])
        targets: list[Mapping[str, str]] = answer["data"]["activeTargets"]
        return targets

    def metadata(self) -> Mapping[str, list[Mapping[str, str]]]:
        """Return type, help and unit by metric name, as the targets say."""
        answer = json.loads(self._get("/api/v1/metadata")[1])
        metadata: Mapping[str, list[Mapping[str, str]]] = answer["data"]
        return metadata

    def wait_until(
        self, condition: Callable[[Prometheus], object], timeout_seconds: float = 60
    ) -> None:
        """Wait until ``condition(self)``; the error has the targets' state."""
        wait_until(lambda: condition(self), timeout_seconds, self.targets)

    def close(self) -> None:
        self._program.stop()

    def _get(self, path: str, **fields: str) -> tuple[int, bytes]:
        response = self._http.request(
            "GET", f"http://127.0.0.1:{self._port}{path}", fields=fields
        )
        return response.status, response.data


@contextmanager
def run_prometheus(directory: Path, targets: Sequence[str]) -> Iterator[Prometheus]:
    """Run a Prometheus with its files in ``directory``."""
    prometheus = Prometheus(directory, targets)
    try:
        yield prometheus
    finally:
        prometheus.close()
