"""Builders of schema.Window for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from ebpf_net.schema import (
    LEVEL_EDGES,
    LEVEL_SAMPLES,
    NODE_LABELS,
    Columns,
    Level,
    Protocol,
    Window,
)

WINDOW_NS = 10_000_000_000
START_NS = 1_700_000_000_000_000_000


def make_level(
    nodes: Sequence[Mapping[str, str]],
    edges: Sequence[Mapping[str, int]],
    samples: Sequence[tuple[int, int, int, int]] = (),
) -> Level:
    """Build a level from what differs from "" and 0.

    A sample is (edge, kind, bucket, count); edges are TCP unless they say otherwise.
    """
    node_columns = {
        label: pa.array([node.get(label, "") for node in nodes], pa.string())
        for label in NODE_LABELS
    }
    edge_rows = [{"protocol": int(Protocol.TCP), **edge} for edge in edges]
    sample_rows = [
        {"edge": edge, "kind": int(kind), "bucket": int(bucket), "count": count}
        for edge, kind, bucket, count in sorted(samples)
    ]
    return Level(
        nodes=pa.table(node_columns),
        edges=_table(LEVEL_EDGES, edge_rows),
        samples=_table(LEVEL_SAMPLES, sample_rows),
    )


def make_window(
    levels: Mapping[str, Level], start_ns: int = START_NS, end_ns: int | None = None
) -> Window:
    """Build a window of ten seconds."""
    end = start_ns + WINDOW_NS if end_ns is None else end_ns
    return Window(start_ns=start_ns, end_ns=end, levels=levels)


def make_large_level(node_count: int, edge_count: int, samples_each: int = 4) -> Level:
    """Build TCP edges between nodes outside clouds with every label; always the same.

    ``samples_each`` is the number of RTT buckets of each edge.
    """
    random = np.random.default_rng(1)
    numbers = np.arange(node_count)
    nodes = pa.table(
        {
            "workload.name": _texts("checkout-service", numbers % 200),
            "workload.uid": _texts("0f4c9f7e-55a1-4bd5-9d67-9f63c6d0", numbers % 200),
            "availability_zone": _texts("eu-central-1", numbers % 3),
            "id": _texts("a52f77cd-1f0e-4c2c-8a6a-d2b6", numbers),
            "ip": _texts("10.244.0.", numbers),
            "resolution_type": _texts("K8S_CONTAINER_", numbers % 4),
            "image_version": _texts("v1.24.", numbers % 30),
            "environment": _texts("production-", numbers % 2),
            "namespace.name": _texts("namespace-", numbers % 40),
            "process.name": _texts("java-", numbers % 50),
            "container.name": _texts("main-", numbers % 20),
            "pod": _texts("checkout-service-7d9c6b5f4-", numbers),
            "service.name": _texts("checkout-", numbers % 200),
            "node.name": _texts("node-", numbers % 100),
            "region": _texts("eu-central-", numbers % 2),
            "k8s.cluster.name": _texts("production-", numbers % 2),
            "k8s.cluster.uid": _texts("6f0e0b1c-28a2-4d0e-", numbers % 2),
            "geo.country.iso_code": _texts("D", numbers % 2),
            **{
                label: pa.array([""] * node_count, pa.string())
                for label in NODE_LABELS
                if label.startswith("cloud.")
            },
        }
    )
    pairs = random.choice(node_count * node_count, edge_count, replace=False)
    columns = {
        name: random.integers(0, 100_000, edge_count).astype(kind)
        for name, kind in LEVEL_EDGES
        if name != "protocol"
    }
    columns["source"] = (pairs // node_count).astype(np.int32)
    columns["dest"] = (pairs % node_count).astype(np.int32)
    columns["rtt_count"] = np.full(edge_count, 3 * samples_each, np.int64)
    columns["connect_count"] = np.zeros(edge_count, np.int64)
    columns["protocol"] = np.full(edge_count, int(Protocol.TCP), np.int8)
    samples = {
        "edge": np.repeat(np.arange(edge_count, dtype=np.int32), samples_each),
        "count": np.full(edge_count * samples_each, 3, np.int64),
        "bucket": np.tile(
            np.arange(-50, samples_each - 50, dtype=np.int16), edge_count
        ),
        "kind": np.ones(edge_count * samples_each, np.int8),
    }
    return Level(nodes=nodes, edges=pa.table(columns), samples=pa.table(samples))


def _texts(prefix: str, numbers: np.typing.NDArray[np.int64]) -> pa.StringArray:
    return pa.array([f"{prefix}{number}" for number in numbers.tolist()], pa.string())


def _table(columns: Columns, rows: Sequence[Mapping[str, int]]) -> pa.Table:
    arrays = {
        name: np.array([row.get(name, 0) for row in rows], kind)
        for name, kind in columns
    }
    return pa.table(arrays)
