"""Rows a second and core of the enrichment, and its share of the reduction; JSON.

Every host is a node of one cluster with 10,000 pods and 1,000 Services; 100,000
networks have names. A collector runs on half of the nodes, so that half of the other
ends are found by their address; one row in five has an address outside the cluster,
one in ten names a Service. With ``--churn`` 50 pods a second are replaced.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time

import numpy as np
import pyarrow as pa

from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.reducer.networks import parse_networks
from ebpf_net.reducer.pipeline import Reducer, ReducerOptions
from ebpf_net.schema import EDGES, TABLES, Protocol, Role
from ebpf_net.testing.kubernetes import Cluster, make_translation
from ebpf_net.testing.tables import START_NS, WINDOW_NS, Row, make_header, make_table

MAPPED = 0xFFFF << 32
PODS, SERVICES, NETWORKS, NODES = 10_000, 1_000, 100_000, 100
WORKLOADS, TRANSLATIONS, PORT = 500, 1_000, 8080
PODS_OF_NODE = PODS // NODES
COVERED = NODES // 2
CLUSTER = "cluster-collector"


def pod_address(pod: int) -> str:
    return f"10.{pod >> 16}.{pod >> 8 & 255}.{pod & 255}"


def service_address(service: int) -> str:
    return f"172.16.{service >> 8}.{service & 255}"


def make_cluster(pods: range, services: int) -> Cluster:
    cluster = Cluster("bench")
    for node in range(NODES):
        cluster.add_node(
            f"node-{node}",
            [f"192.168.0.{node}"],
            boot_id=f"boot-{node}",
            zone=f"zone-{node % 3}",
            region="region",
        )
    for pod in pods:
        cluster.add_pod(
            f"pod-{pod}",
            [pod_address(pod % PODS)],
            workload=f"workload-{pod % WORKLOADS}",
            node_name=f"node-{pod % PODS // PODS_OF_NODE}",
            span=(START_NS, 0),
        )
    for service in range(services):
        cluster.add_service(f"service-{service}", [service_address(service)], [PORT])
    return cluster


def node_tables(node: int) -> dict[str, pa.Table]:
    """Make what a node's collector tells: a process in each pod of the node."""
    first = node * PODS_OF_NODE
    numbers = range(1, PODS_OF_NODE + 1)
    rows: dict[str, list[Row]] = {
        "hosts": [{"host_id": f"node-{node}", "boot_id": f"boot-{node}"}],
        "processes": [
            {"process_id": one, "cgroup_id": one, "comm": f"program-{one % 20}"}
            for one in numbers
        ],
        "cgroups": [
            {
                "cgroup_id": one,
                "pod_uid": f"uid-bench-pod-{first + one - 1}",
                "container_id": f"container-of-uid-bench-pod-{first + one - 1}",
                "labels": '{"io.kubernetes.container.name": "app"}',
            }
            for one in numbers
        ],
        "translations": [
            make_translation(
                one + 1, "10.0.0.0", service_address(one), "10.0.0.0", (PORT, PORT)
            )
            for one in range(TRANSLATIONS)
        ],
    }
    return {name: make_table(name, chosen) for name, chosen in rows.items()}


def make_edges(rows: int, number: int) -> list[dict[str, np.ndarray]]:
    """Make each node's rows: its pods as clients of pods, Services and others."""
    random = np.random.default_rng(1)
    each = rows // COVERED
    counts = np.random.default_rng(number)
    made = []
    for node in range(COVERED):
        pod = random.integers(0, PODS_OF_NODE, each)
        server = random.integers(0, PODS, each)
        remote = MAPPED | 10 << 24 | server
        outside = random.random(each) < 0.2
        far = MAPPED | (20 << 24) + random.integers(0, 1 << 25, each)
        translated = (random.random(each) < 0.1) & ~outside
        columns = {name: np.zeros(each, kind) for name, kind in EDGES}
        columns |= {
            "local_address_low": MAPPED | 10 << 24 | node * PODS_OF_NODE + pod,
            "remote_address_low": np.where(outside, far, remote),
            "process_id": pod + 1,
            "cgroup_id": pod + 1,
            "translation_id": np.where(
                translated, 1 + random.integers(0, TRANSLATIONS, each), 0
            ),
            "remote_port": np.full(each, PORT),
            "protocol": np.full(each, Protocol.TCP),
            "role": np.full(each, Role.CLIENT),
            "bytes_sent": counts.integers(0, 1 << 20, each),
            "open": np.ones(each),
        }
        made.append(columns)
    return made


def make_window(rows: int, number: int) -> list[DecodedBatch]:
    batches = []
    for node, columns in enumerate(make_edges(rows, number)):
        tables = node_tables(node) if number == 0 else {}
        tables["edges"] = pa.table(
            {name: columns[name].astype(kind) for name, kind in EDGES}
        )
        header = make_header(number, collector=f"node-{node}", incarnation="first")
        batches.append(DecodedBatch(header, tables))
    return batches


def cluster_batch(number: int, churn: int) -> DecodedBatch:
    """Make what the cluster's collector sends: all at first, then what has changed."""
    changed = range(PODS) if number == 0 else range(PODS, PODS + churn)
    rows = dict(make_cluster(changed, SERVICES if number == 0 else 0).tables)
    if number and not churn:
        rows = {}
    tables = {name: make_table(name, rows.get(name, ())) for name in TABLES}
    return DecodedBatch(make_header(number, collector=CLUSTER), tables)


def networks_text() -> str:
    return "\n".join(
        f"{20 + (one >> 16)}.{one >> 8 & 255}.{one & 255}.0/24 network-{one % 5000}"
        for one in range(NETWORKS)
    )


def measure(rows: int, level: str, windows: int, churn: int) -> dict[str, object]:
    """Reduce some windows; return figures of the median one."""
    reducer = Reducer(ReducerOptions(levels=(level,), memory_limit="2GB"))
    reducer.names.networks = parse_networks(networks_text())
    spent: list[tuple[float, float]] = []
    count = 0
    for number in range(windows + 1):
        batches = [*make_window(rows, number), cluster_batch(number, churn)]
        count = sum(batch.tables["edges"].num_rows for batch in batches)
        end = START_NS + (number + 1) * WINDOW_NS
        before = stage_seconds(reducer)
        began = time.process_time()
        for batch in batches:
            reducer.add(batch, end, end)
        reducer.close_windows(end + 2_000_000_000)
        total = time.process_time() - began
        spent.append((stage_seconds(reducer) - before, total))
    reducer.close()
    enrichment, total = np.median(np.array(spent[1:]), axis=0)
    return {
        "rows": count,
        "level": level,
        "pods_changed": churn,
        "enrichment_seconds": round(float(enrichment), 4),
        "reduction_seconds": round(float(total), 4),
        "share": round(float(enrichment / total), 3),
        "enriched_rows_per_second_and_core": round(count / enrichment),
        "first_window_enrichment_seconds": round(spent[0][0], 4),
    }


def stage_seconds(reducer: Reducer) -> float:
    return sum(
        point.value
        for point in reducer.metrics(0)
        if point.name == "ebpf_net.reducer.stage_seconds"
        and ("stage", "enrichment") in point.labels
    )


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000]
    )
    parser.add_argument("--levels", nargs="+", default=["az_az"])
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--churn", type=int, nargs="+", default=[0, 500])
    arguments = parser.parse_args()
    pa.set_cpu_count(1)
    results = [
        measure(rows, level, arguments.windows, churn)
        for level in arguments.levels
        for churn in arguments.churn
        for rows in arguments.rows
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    given = {"pods": PODS, "services": SERVICES, "networks": NETWORKS}
    print(json.dumps({**given, "enrichment": results, "peak_rss_mb": peak}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
