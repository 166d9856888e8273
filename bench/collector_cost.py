"""What the collector's process costs under load, and how soon it speaks; prints JSON.

CPU is the time that its threads ran; what its programs cost in the kernel is spent by
others, see kernel_cost. The load says how many connections it really made; what else
the machine does is collected too: with the load alone, ``opened_per_second`` is twice
its rate, as both ends of each connection are here.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from _collector import Collector, Intake, wait
from _loads import (
    Load,
    Namespace,
    compile_connections,
    cpu_ns,
    median_and_spread,
    memory_kib,
)

PAIRS = 4  # of threads that make connections
WARM_UP_SECONDS = 2.0


@dataclass(frozen=True)
class Case:
    """A load: connections a second, to so many addresses."""

    rate: int
    addresses: int
    seconds: float


CASES = (
    Case(0, 1, 10.0),
    Case(1_000, PAIRS, 10.0),
    Case(10_000, PAIRS, 20.0),
    Case(10_000, 4_000, 20.0),
)
QUICK_CASES = (Case(0, 1, 2.0), Case(10_000, PAIRS, 4.0))


def measure_case(
    case: Case, connections: Path, namespace: Namespace, interval_seconds: float
) -> dict[str, object]:
    """Run a collector under a load, and watch it."""
    rate = max(case.rate, PAIRS)
    addresses = max(1, case.addresses // PAIRS)
    with (
        tempfile.TemporaryDirectory() as directory,
        Intake() as intake,
        Collector(
            intake, Path(directory), "--interval-seconds", str(interval_seconds)
        ) as collector,
    ):
        if not case.rate:
            wait(WARM_UP_SECONDS)
            return watch(case, collector, intake, None)
        with Load(connections, namespace, "churn", PAIRS, rate, addresses) as load:
            wait(WARM_UP_SECONDS)
            return watch(case, collector, intake, load)


def watch(
    case: Case, collector: Collector, intake: Intake, load: Load | None
) -> dict[str, object]:
    """Return what the collector used while the case's time passed."""
    made = load.ask() if load else 0
    rows, bytes_before = intake.sink.rows, intake.body_bytes()
    start_ns = time.time_ns()
    began, before = time.monotonic(), cpu_ns(collector.pid)
    wait(case.seconds)
    spent, seconds = cpu_ns(collector.pid) - before, time.monotonic() - began
    made = load.ask() - made if load else 0
    rows = intake.sink.rows - rows
    body_bytes = intake.body_bytes() - bytes_before
    lost = sum(
        count
        for name, count in intake.sink.status.items()
        if name.startswith("lost.") and not name.endswith("_bytes")
    )
    return {
        "asked_connections_per_second": case.rate,
        "connections_per_second": round(made / seconds),
        "addresses": case.addresses,
        "core_percent": round(spent / seconds / 1e7, 3),
        "opened_per_second": intake.opened_per_second(start_ns, time.time_ns()),
        "cpu_ns_per_connection": round(spent / made) if made else None,
        **memory_kib(collector.pid),
        "rows": rows,
        "wire_bytes_per_row": round(body_bytes / rows, 1) if rows else None,
        "lost_records": lost,
    }


def measure_start(connections: Path, namespace: Namespace, times: int) -> object:
    """Return how long after its start the first row arrives."""
    seconds = []
    for _ in range(times):
        with (
            tempfile.TemporaryDirectory() as directory,
            Intake() as intake,
            Load(connections, namespace, "churn", PAIRS, 1_000, 1),
            Collector(intake, Path(directory)) as collector,
        ):
            seconds.append(collector.wait_first_row())
    return median_and_spread(seconds, 3)


def say(what: str) -> None:
    """Tell how far it is."""
    print(f"collector_cost: {what}", file=sys.stderr, flush=True)


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 15 seconds")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as scratch, Namespace() as namespace:
        connections = compile_connections(Path(scratch))
        say("start to first row")
        start = measure_start(connections, namespace, 1 if quick else 3)
        cases = []
        for case in QUICK_CASES if quick else CASES:
            say(f"{case.rate} connections/s to {case.addresses} addresses")
            interval_seconds = 2.0 if quick else 10.0
            cases.append(measure_case(case, connections, namespace, interval_seconds))
    print(json.dumps({"start_to_first_row_seconds": start, "load": cases}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
