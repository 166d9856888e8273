"""CPU time and bytes of 50,000 points as OTLP and as Prometheus text; prints JSON.

Every point has 27 attributes, 24 of them labels of its ends. OTLP is measured against
protobuf objects built one by one; runs are interleaved, the median is reported.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from ebpf_net.exporters.edge_blocks import window_series
from ebpf_net.exporters.json_text import render_window
from ebpf_net.exporters.otlp_encoding import (
    SCOPE_NAME,
    Part,
    Temporality,
    default_resource,
    encode_parts,
    package_version,
    resource_metrics_prefix,
    scope_metrics_prefix,
)
from ebpf_net.exporters.otlp_requests import RequestWriter
from ebpf_net.exporters.prometheus import PrometheusExporter
from ebpf_net.exporters.prometheus_text import render_metrics
from ebpf_net.metrics import METRICS, Kind, Metric
from ebpf_net.schema import Protocol, Window
from ebpf_net.testing.otlp_reference import build_request
from ebpf_net.testing.windows import make_large_level, make_window

NUMBERS = [
    metric
    for metric in METRICS
    if metric.protocol is Protocol.TCP
    and metric.kind is not Kind.HISTOGRAM
    and not metric.reason_attribute
]
BYTES = [metric for metric in METRICS if metric.name == "tcp.bytes"]
RTT = [metric for metric in METRICS if metric.name == "tcp.rtt"]


def encode_otlp(window: Window, metrics: Sequence[Metric]) -> int:
    prefixes = resource_metrics_prefix(default_resource()), scope_metrics_prefix()
    levels = window_series(window)
    part = Part(levels, window.end_ns, metrics, Temporality.DELTA)
    requests = encode_parts([part], RequestWriter(*prefixes))
    return sum(len(request.body) for request in requests)


def encode_protobuf(window: Window, metrics: Sequence[Metric]) -> int:
    scope = (SCOPE_NAME, package_version())
    request = build_request(window, metrics, default_resource(), scope)
    return len(request.SerializeToString())


def encode_prometheus(window: Window, metrics: Sequence[Metric]) -> int:
    levels = window_series(window)
    return len(render_metrics(levels, levels, metrics, False))


def encode_json(window: Window, metrics: Sequence[Metric]) -> int:
    return sum(len(text) for text in render_window(window, metrics))


def add_up(window: Window, metrics: Sequence[Metric]) -> int:
    exporter = PrometheusExporter(metrics)
    answers: list[bool] = []
    exporter.export(window, answers.append)
    start = time.process_time_ns()
    exporter.export(window, answers.append)
    return time.process_time_ns() - start


Encode = Callable[[Window, Sequence[Metric]], int]


def measure(
    encoders: dict[str, Encode], window: Window, metrics: Sequence[Metric], runs: int
) -> dict[str, dict[str, float]]:
    """Run the encoders in turn; return their median CPU time and bytes."""
    times: dict[str, list[float]] = {name: [] for name in encoders}
    sizes = {}
    for run in range(runs + 1):
        for name, encode in encoders.items():
            start = time.process_time()
            sizes[name] = encode(window, metrics)
            if run:  # the first warms up
                times[name].append(time.process_time() - start)
    return {
        name: {
            "cpu_ms": round(1e3 * statistics.median(times[name]), 1),
            "bytes": sizes[name],
        }
        for name in encoders
    }


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments)
    encoders: dict[str, Encode] = {
        "otlp": encode_otlp,
        "protobuf_objects": encode_protobuf,
        "prometheus": encode_prometheus,
        "json_lines": encode_json,
    }
    cases = {
        "one_metric_of_each_edge": BYTES,
        "all_numbers_of_each_edge": NUMBERS,
        "one_histogram_of_each_edge": RTT,
    }
    report: dict[str, object] = {"points": options.points, "nodes": options.nodes}
    for name, metrics in cases.items():
        edges = options.points // len(metrics)
        window = make_window({"id_id": make_large_level(options.nodes, edges)})
        report[name] = {
            "edges": edges,
            **measure(encoders, window, metrics, options.runs),
        }
    window = make_window({"id_id": make_large_level(options.nodes, options.points)})
    times = [add_up(window, BYTES) for _ in range(options.runs)]
    report["cumulative"] = {
        "edges": options.points,
        "cpu_ms": round(statistics.median(times) / 1e6, 1),
    }
    json.dump(report, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
