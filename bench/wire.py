"""What a row costs on the wire, and what it costs to make and to encode; prints JSON.

One window of a host with some services and many clients, each of which opened a few
connections. Time is the CPU time of this thread.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard
from _loads import median_and_spread

from ebpf_net.collectors.encode import encode_body
from ebpf_net.collectors.kernel.cgroup_filter import CgroupFilter
from ebpf_net.collectors.kernel.cgroup_tree import CgroupTree
from ebpf_net.collectors.kernel.cgroups import CgroupTable
from ebpf_net.collectors.kernel.edges import EdgeTable
from ebpf_net.collectors.kernel.processes import ProcessTable
from ebpf_net.collectors.kernel.records import TCP_RECORD, TcpFlag, TcpRole
from ebpf_net.collectors.kernel.window import WindowBuilder, WindowTables

EDGES = (100, 1_000, 10_000, 100_000)
QUICK_EDGES = (100, 10_000)
CONNECTIONS_OF_AN_EDGE = 3
SERVICES = 20
WINDOWS = 7
QUICK_WINDOWS = 3
_MAPPED = np.array([*[0] * 10, 255, 255], np.uint8)


def make_records(edges: int, seed: int) -> npt.NDArray[Any]:
    """Return records of connections that were opened and closed within the window."""
    # The same clients and services in every window, with other counts.
    fixed, random = np.random.default_rng(0), np.random.default_rng(seed)
    edge = np.repeat(np.arange(edges), CONNECTIONS_OF_AN_EDGE)
    service = fixed.integers(0, SERVICES, edges)[edge]
    client = fixed.choice(1 << 22, edges, replace=False)[edge]
    count = edge.size
    records = np.zeros(count, TCP_RECORD)
    records["cookie"] = np.arange(1, count + 1)
    records["time_ns"] = np.sort(random.integers(0, 10_000_000_000, count))
    records["cgroup_id"] = 1_000 + service
    records["owner_start_ns"] = (1 + service) * 1_000_000_000
    records["pid"] = 100 + service
    records["comm"] = b"service"
    records["netns"] = 4_026_531_840
    records["local_address"] = [*_MAPPED, 10, 0, 0, 1]
    records["remote_address"][:, :12] = _MAPPED
    records["remote_address"][:, 12] = 10
    for place in range(3):
        records["remote_address"][:, 13 + place] = client >> (16 - 8 * place) & 255
    records["local_port"] = 8_000 + service
    records["remote_port"] = random.integers(32_768, 61_000, count)
    records["role"] = TcpRole.SERVER
    records["flags"] = TcpFlag.OPENED | TcpFlag.CLOSED
    records["bytes_received"] = random.lognormal(6, 1, count)
    records["bytes_sent"] = random.lognormal(9, 2, count)
    records["segments_received"] = 4 + records["bytes_received"] // 1448
    records["segments_sent"] = 3 + records["bytes_sent"] // 1448
    records["retransmits"] = random.random(count) < 0.01
    records["srtt_us"] = random.lognormal(7, 1, count)
    records["min_rtt_us"] = records["srtt_us"] * 0.8
    return random.permutation(records)


def make_builder(nothing: Path) -> WindowBuilder:
    """Return one that finds no processes and no cgroups."""
    cgroups = CgroupTable(
        CgroupTree(nothing, proc=nothing),
        CgroupFilter((), ()),
        set_verdict=lambda _number, _include: None,
        forget_verdict=lambda _number: None,
        ask_details=lambda _container: None,
    )
    return WindowBuilder(EdgeTable(200_000), ProcessTable(proc=nothing), cgroups)


def measure(edges: int, windows: int, nothing: Path) -> dict[str, object]:
    """Make and encode some windows."""
    builder = make_builder(nothing)
    made, encoded, sizes = [], [], []
    samples, plain = 0, 0
    for number in range(windows):
        records = make_records(edges, number)
        began = time.thread_time_ns()
        builder.add_tcp(records)
        window = builder.finish()
        done = time.thread_time_ns()
        body = encode(window)
        encoded.append((time.thread_time_ns() - done) / edges)
        made.append((done - began) / records.size)
        sizes.append(len(body) / edges)
        samples = len(window.edges.samples["edge"])
        plain = len(zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)).read())
    return {
        "rows": edges,
        "sample_rows": samples,
        "records": edges * CONNECTIONS_OF_AN_EDGE,
        "wire_bytes_per_row": median_and_spread(sizes, 2),
        "plain_bytes_per_row": round(plain / edges, 1),
        "encode_ns_per_row": median_and_spread(encoded),
        "make_ns_per_record": median_and_spread(made),
    }


def encode(window: WindowTables) -> bytes:
    """Encode as the collector does."""
    edges, samples = window.edges.edges, window.edges.samples
    return encode_body({"edges": edges, "edge_samples": samples})


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 15 seconds")
    quick = parser.parse_args().quick
    results = []
    with tempfile.TemporaryDirectory() as nothing:
        for edges in QUICK_EDGES if quick else EDGES:
            print(f"wire: {edges} rows", file=sys.stderr, flush=True)
            windows = QUICK_WINDOWS if quick else WINDOWS
            results.append(measure(edges, windows, Path(nothing)))
    print(json.dumps({"windows": results}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
