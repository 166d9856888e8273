"""Rows a second and core from the wire to encoded OTLP; prints JSON.

Bodies are those of bench/reducer.py as collectors send them. Each window is decoded and
checked, reduced to level az_az, and encoded as OTLP requests with all default metrics.
Time is the CPU time of the process; the first window is not counted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from statistics import median

import pyarrow as pa

from ebpf_net.exporters.edge_blocks import window_series
from ebpf_net.exporters.otlp_encoding import (
    Part,
    Temporality,
    default_resource,
    encode_parts,
    resource_metrics_prefix,
    scope_metrics_prefix,
)
from ebpf_net.exporters.otlp_requests import RequestWriter
from ebpf_net.intake.batch import BatchHeader
from ebpf_net.intake.decode import Limits, decode
from ebpf_net.metrics import select_metrics
from ebpf_net.reducer.pipeline import Reducer, ReducerOptions
from ebpf_net.schema import Window
from ebpf_net.testing.intake import encode_tables
from ebpf_net.testing.tables import START_NS, WINDOW_NS
from reducer import make_window

METRICS = select_metrics()
STAGES = ("decode", "reduce", "encode")


def make_bodies(rows: int, hosts: int, number: int) -> list[tuple[BatchHeader, bytes]]:
    return [
        (batch.header, encode_tables(batch.tables))
        for batch in make_window(rows, hosts, number)
    ]


def encode(window: Window) -> tuple[int, int]:
    """Return the points and bytes of all requests."""
    prefixes = resource_metrics_prefix(default_resource()), scope_metrics_prefix()
    part = Part(window_series(window), window.end_ns, METRICS, Temporality.DELTA)
    requests = list(encode_parts([part], RequestWriter(*prefixes)))
    points = sum(request.points for request in requests)
    return points, sum(len(request.body) for request in requests)


def measure(rows: int, hosts: int, windows: int) -> dict[str, object]:
    reducer = Reducer(ReducerOptions(memory_limit="2GB"))
    spent: list[list[float]] = []
    count = points = size = 0
    for number in range(windows + 1):
        bodies = make_bodies(rows, hosts, number)
        end = START_NS + (number + 1) * WINDOW_NS
        times = [time.process_time()]
        batches = [decode(header, body, Limits()) for header, body in bodies]
        times.append(time.process_time())
        for batch in batches:
            reducer.add(batch, end, end)
        closed = reducer.close_windows(end + 2_000_000_000)
        times.append(time.process_time())
        encoded = [encode(one.window) for one in closed]
        times.append(time.process_time())
        count = sum(batch.tables["edges"].num_rows for batch in batches)
        points = sum(one for one, _ in encoded)
        size = sum(one for _, one in encoded)
        spent.append([after - before for before, after in itertools.pairwise(times)])
    reducer.close()
    seconds = median(sum(stages) for stages in spent[1:])
    return {
        "rows": count,
        "seconds": round(seconds, 4),
        "rows_per_second_and_core": round(count / seconds),
        "best_rows_per_second_and_core": round(
            count / min(sum(stages) for stages in spent[1:])
        ),
        "stage_seconds": {
            name: round(median(stages[index] for stages in spent[1:]), 4)
            for index, name in enumerate(STAGES)
        },
        "otlp_points": points,
        "otlp_bytes": size,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000]
    )
    parser.add_argument("--windows", type=int, default=5)
    arguments = parser.parse_args()
    pa.set_cpu_count(1)
    results = [
        measure(rows, min(100, max(2, rows // 1000)), arguments.windows)
        for rows in arguments.rows
    ]
    print(json.dumps({"pipeline": results}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
