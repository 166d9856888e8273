"""nginx under wrk with and without the collector, by turns; prints JSON.

Throughput swings with what else the machine does; the CPU time of nginx and wrk for
a request swings less. Of each pair of rounds (without, with) we take the ratio;
what is printed as spread are the quartiles.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from _collector import Collector, Intake, wait
from _loads import Namespace, cpu_ns, median_and_quartiles

ROUND_SECONDS = 1
PAIRS_OF_ROUNDS = 11
QUICK_PAIRS_OF_ROUNDS = 1
PORT = 800
THREADS = 2
CONNECTIONS = 16
WORKERS = 2
_CONFIGURATION = f"""\
daemon off;
worker_processes {WORKERS};
user root;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{PORT} backlog=4096;
    location / {{ return 200 "{"x" * 1000}"; }}
  }}
}}
"""


class Nginx:
    """A server in the namespace."""

    def __init__(self, namespace: Namespace, directory: Path) -> None:
        configuration = directory / "nginx.conf"
        configuration.write_text(_CONFIGURATION)
        self._process = subprocess.Popen(
            namespace.enter("nginx", "-p", directory, "-c", configuration),
            stderr=subprocess.DEVNULL,
        )

        while len(self._workers()) < WORKERS:
            wait(0.02)

    def cpu_ns(self) -> int:
        """Return the time that the workers have run."""
        return sum(map(cpu_ns, self._workers()))

    def _workers(self) -> list[int]:
        if self._process.poll() is not None:
            raise RuntimeError("nginx ended early")
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in children.split()]

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def __enter__(self) -> Nginx:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Round:
    """What one run of wrk did."""

    requests_per_second: float
    cpu_us_per_request: float


def run_wrk(namespace: Namespace, nginx: Nginx, *, close: bool) -> Round:
    """Have wrk ask as fast as it can."""
    header = ("-H", "Connection: close") if close else ()
    command = namespace.enter(
        *("wrk", "-t", str(THREADS), "-c", str(CONNECTIONS), "-d", f"{ROUND_SECONDS}s"),
        *(*header, f"http://127.0.0.1:{PORT}/"),
    )
    before = nginx.cpu_ns() + children_cpu_ns()
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = nginx.cpu_ns() + children_cpu_ns() - before
    requests = int(find(r"(\d+) requests in", output))
    rate = float(find(r"Requests/sec:\s+([\d.]+)", output))
    return Round(rate, spent / requests / 1000)


def children_cpu_ns() -> int:
    """Return the time of all programs that we started and that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


def find(pattern: str, text: str) -> str:
    """Return the first group."""
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk said: {text}")
    return match[1]


def compare(namespace: Namespace, pairs: int, *, close: bool) -> dict[str, object]:
    """Run rounds without and with the collector by turns, in changing order."""
    without, with_it = [], []
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        nginx = stack.enter_context(Nginx(namespace, Path(directory)))
        run_wrk(namespace, nginx, close=close)
        for pair in range(pairs):
            if pair % 2:
                with_it.append(watched_round(namespace, nginx, close=close))
            without.append(run_wrk(namespace, nginx, close=close))
            if not pair % 2:
                with_it.append(watched_round(namespace, nginx, close=close))
    rounds = list(zip(without, with_it, strict=True))
    rates = [b.requests_per_second / a.requests_per_second for a, b in rounds]
    costs = [b.cpu_us_per_request / a.cpu_us_per_request for a, b in rounds]
    return {
        "without": summarize_rounds(without),
        "with": summarize_rounds(with_it),
        "throughput_ratio": median_and_quartiles(rates),
        "cpu_ratio": median_and_quartiles(costs),
    }


def summarize_rounds(rounds: list[Round]) -> dict[str, object]:
    """Return medians."""
    rates = [one.requests_per_second for one in rounds]
    costs = [one.cpu_us_per_request for one in rounds]
    return {
        "requests_per_second": median_and_quartiles(rates, 0),
        "cpu_us_per_request": median_and_quartiles(costs, 2),
    }


def watched_round(namespace: Namespace, nginx: Nginx, *, close: bool) -> Round:
    """Run wrk while a collector watches."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Intake() as intake,
        Collector(intake, Path(directory)) as collector,
    ):
        collector.wait_first_row()
        return run_wrk(namespace, nginx, close=close)


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 15 seconds")
    quick = parser.parse_args().quick
    pairs = QUICK_PAIRS_OF_ROUNDS if quick else PAIRS_OF_ROUNDS
    result = {}
    with Namespace() as namespace:
        for name, close in (("keep_alive", False), ("connection_close", True)):
            print(f"wrk_overhead: {name}", file=sys.stderr, flush=True)
            result[name] = compare(namespace, pairs, close=close)
    print(json.dumps({"pairs_of_rounds": pairs, **result}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
