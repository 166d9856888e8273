"""Rows a second and core from decoded tables to a window; prints JSON.

Half of the hosts run clients, half servers; nine edges in ten are seen from both ends,
the rest by one. Time is the CPU time of the process. The second window of each run is
measured, as the first finds nothing in memory. ``state`` is what a window costs that is
remembered and written after few windows and after many. ``zones`` compares windows of
hosts in zones: without telling of them, with bytes by zone, and with prices too.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.reducer.memory import Ends, Learned, Memory, known_keys
from ebpf_net.reducer.pipeline import Reducer, ReducerOptions
from ebpf_net.reducer.prices import parse_prices
from ebpf_net.reducer.reference import References
from ebpf_net.reducer.rows import no_rows
from ebpf_net.reducer.state import State, StateWriter
from ebpf_net.schema import EDGES, Protocol, Role, Sample
from ebpf_net.testing.tables import START_NS, WINDOW_NS, make_header, make_table

PRICES = Path(__file__).resolve().parents[1] / "deploy" / "prices" / "aws.yaml"
ZONES = tuple(f"us-east-{region}{zone}" for region in (1, 2) for zone in "abc")
WORKLOADS = 200
PROCESSES = 2 * WORKLOADS  # of a host
PAIRS = 5_000  # workloads that talk to one another
MAPPED = 0xFFFF << 32
VOLUME = ("bytes_sent", "bytes_received", "packets_sent", "packets_received")


def make_window(
    rows: int,
    hosts: int,
    number: int,
    seed: int = 1,
    zones: Sequence[str] = ("zone-1",),
) -> list[DecodedBatch]:
    """Make one batch a host; the same edges in each window, with other counts."""
    hosts = max(2, hosts // 2 * 2)
    edges = rows * 10 // 19
    random = np.random.default_rng(seed)
    client_host = random.integers(0, hosts // 2, edges)
    server_host = random.integers(hosts // 2, hosts, edges)
    client_address = (
        MAPPED | 10 << 24 | client_host << 12 | random.integers(0, 200, edges)
    )
    server_address = (
        MAPPED | 10 << 24 | server_host << 12 | random.integers(0, 200, edges)
    )
    port = random.choice([80, 443, 5432, 6379, 8080, 9090, 53, 3306], edges)
    pair = random.integers(0, PAIRS, edges)
    client_process, server_process = (
        1 + random.integers(0, WORKLOADS, PAIRS)[pair] + instance
        for instance in random.integers(0, 2, (2, edges)) * WORKLOADS
    )
    protocol = np.where(port == 53, int(Protocol.UDP), int(Protocol.TCP))
    counts = np.random.default_rng(seed + number)
    volume = {name: counts.integers(0, 1_000_000, edges) for name in VOLUME}
    client_seen = random.random(edges) < 0.95
    server_seen = (random.random(edges) < 0.95) | ~client_seen
    batches = []
    for host in range(hosts):
        is_client = host < hosts // 2
        mine = np.flatnonzero(
            client_seen & (client_host == host)
            if is_client
            else server_seen & (server_host == host)
        )
        local, remote = client_address[mine], server_address[mine]
        process = client_process[mine]
        sent, received = "sent", "received"
        if not is_client:
            local, remote = remote, local
            process = server_process[mine]
            sent, received = received, sent
        columns = {name: np.zeros(len(mine), kind) for name, kind in EDGES}
        columns |= {
            "local_address_low": local,
            "remote_address_low": remote,
            "process_id": process,
            "cgroup_id": process,
            "bytes_sent": volume[f"bytes_{sent}"][mine],
            "bytes_received": volume[f"bytes_{received}"][mine],
            "packets_sent": volume[f"packets_{sent}"][mine],
            "packets_received": volume[f"packets_{received}"][mine],
            "protocol": protocol[mine],
            "role": np.full(len(mine), Role.CLIENT if is_client else Role.SERVER),
            "remote_port" if is_client else "local_port": port[mine],
            "rtt_sum_us": counts.integers(100, 5000, len(mine)),
            "open": np.ones(len(mine)),
            "rtt_count": np.ones(len(mine)),
            "rtt_min_us": np.full(len(mine), 90),
            "rtt_max_us": np.full(len(mine), 5000),
        }
        zone = zones[host % len(zones)]
        tables = reference_tables(host, zone) if number == 0 else {}
        tables["edges"] = pa.table(
            {name: columns[name].astype(kind) for name, kind in EDGES}
        )
        tables["edge_samples"] = pa.table(
            {
                "edge": np.arange(len(mine), dtype=np.int32),
                "count": np.ones(len(mine), np.int32),
                "bucket": counts.integers(-40, -20, len(mine)).astype(np.int16),
                "kind": np.full(len(mine), Sample.RTT, np.int8),
            }
        )
        header = make_header(
            number, collector=f"collector-{host}", incarnation=f"incarnation-{host}"
        )
        batches.append(DecodedBatch(header, tables))
    return batches


def reference_tables(host: int, zone: str) -> dict[str, pa.Table]:
    """Make a host's processes, each in its container."""
    return {
        "hosts": make_table(
            "hosts",
            [{"host_id": f"host-{host}", "boot_id": f"boot-{host}", "zone": zone}],
        ),
        "processes": make_table(
            "processes",
            [
                {
                    "process_id": one,
                    "cgroup_id": one,
                    "comm": f"program-{one % WORKLOADS}",
                }
                for one in range(1, PROCESSES + 1)
            ],
        ),
        "cgroups": make_table(
            "cgroups",
            [
                {
                    "cgroup_id": one,
                    "container_id": f"{host:032x}{one:032x}",
                    "container_name": f"workload-{one % WORKLOADS}",
                    "image_version": "1.0",
                    "labels": '{"team": "one"}',
                }
                for one in range(1, PROCESSES + 1)
            ],
        ),
    }


def measure(
    rows: int,
    hosts: int,
    levels: tuple[str, ...],
    windows: int,
    zones: Sequence[str] = ("zone-1",),
    tell: str = "nothing",
) -> dict[str, object]:
    """Reduce some windows and return figures of the median one."""
    options = ReducerOptions(levels=levels, memory_limit="2GB", zones=tell != "nothing")
    reducer = Reducer(options)
    if tell == "prices":
        reducer.tolls.use(parse_prices(PRICES.read_text()))
    spent, count, edges = [], 0, 0
    stages: dict[str, float] = {}
    for number in range(windows + 1):
        batches = make_window(rows, hosts, number, zones=zones)
        count = sum(batch.tables["edges"].num_rows for batch in batches)
        end = START_NS + (number + 1) * WINDOW_NS
        before = stage_seconds(reducer)
        began = time.process_time()
        for batch in batches:
            reducer.add(batch, end, end)
        closed = reducer.close_windows(end + 2_000_000_000)
        spent.append(time.process_time() - began)
        after = stage_seconds(reducer)
        stages = {name: after[name] - before.get(name, 0.0) for name in after}
        edges = sum(one.window.levels[levels[-1]].edges.num_rows for one in closed)
    reducer.close()
    seconds = float(np.median(spent[1:]))
    return {
        "rows": count,
        "hosts": hosts,
        "levels": list(levels),
        "zones": len(zones),
        "told": tell,
        "seconds": round(seconds, 4),
        "best_seconds": round(min(spent[1:]), 4),
        "first_window_seconds": round(spent[0], 4),
        "rows_per_second_and_core": round(count / seconds),
        "best_rows_per_second_and_core": round(count / min(spent[1:])),
        "edges_out": edges,
        "stage_seconds": {name: round(value, 4) for name, value in stages.items()},
    }


def measure_state(edges: int, windows: int) -> dict[str, object]:
    """Remember windows of some edges; say what the next one adds to the state."""
    random = np.random.default_rng(1)
    memory, writer = Memory(), StateWriter()
    tables = References().tables
    spent, lengths = [], []
    for number in range(windows):
        near, far = random.integers(-(2**63), 2**63 - 1, (2, edges))
        every = np.ones(edges, np.bool_)
        known = known_keys(near, far, Ends(near, near, near), every)
        began = time.process_time()
        memory.learn(number, Learned(known, known, known))
        memory.forget(number, 0)
        record = writer.write(State({}, tables, no_rows(), memory), whole=False)
        spent.append(time.process_time() - began)
        lengths.append(len(record))
    began = time.process_time()
    whole = writer.write(State({}, tables, no_rows(), memory), whole=True)
    return {
        "edges": edges,
        "windows": windows,
        "window_ms": round(1e3 * float(np.median(spent[-100:])), 3),
        "window_bytes": lengths[-1],
        "whole_ms": round(1e3 * (time.process_time() - began), 1),
        "whole_bytes": len(whole),
    }


def stage_seconds(reducer: Reducer) -> dict[str, float]:
    """Return the CPU time of each stage so far."""
    return {
        point.labels[0][1]: point.value
        for point in reducer.metrics(0)
        if point.name == "ebpf_net.reducer.stage_seconds"
    }


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000]
    )
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--levels", default="az_az")
    parser.add_argument("--windows", type=int, default=5)
    arguments = parser.parse_args()
    levels = tuple(arguments.levels.split(","))
    pa.set_cpu_count(1)
    results = [
        measure(
            rows, min(arguments.hosts, max(2, rows // 1000)), levels, arguments.windows
        )
        for rows in arguments.rows
    ]
    most = max(arguments.rows)
    hosts = min(arguments.hosts, max(2, most // 1000))
    zones = [
        measure(most, hosts, levels, arguments.windows, ZONES, tell)
        for tell in ("nothing", "bytes", "prices")
    ]
    state = [measure_state(100, windows) for windows in (60, 3600)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    figures = {"reducer": results, "zones": zones, "state": state, "peak_rss_mb": peak}
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
