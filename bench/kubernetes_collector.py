"""Memory, CPU and traffic of k8s-collector at a real API server; prints JSON.

etcd and kube-apiserver run here with nobody who acts on what is written: this program
writes pods as controllers and kubelets would, then changes some of them every second.
CPU time and memory are the collector's own, as the kernel tells them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.world.kubernetes_api import KubernetesControlPlane

from ebpf_net.intake.server import IntakeServer, ServerOptions
from ebpf_net.testing.intake import MemorySink

NAMESPACE = "/namespaces/bench"
PROGRAM = "import sys; from ebpf_net.cli import main; sys.exit(main())"
STARTED = "2026-01-01T00:00:00Z"
WRITERS = 8
TICKS = os.sysconf("SC_CLK_TCK")


class World:
    """Deployments of ten pods each, some services, and their slices."""

    def __init__(self, plane: KubernetesControlPlane, pods: int, services: int) -> None:
        self._request = plane.api.request
        self._pods = pods
        self._services = services
        self._sets: list[str] = []
        self._uids: list[str] = []

    def write(self) -> None:
        """Write all that there is before the collector starts."""
        self._request("POST", "/api/v1/namespaces", {"metadata": {"name": "bench"}})
        with ThreadPoolExecutor(WRITERS) as pool:
            self._sets = list(pool.map(self._write_set, range(self._pods // 10)))
            self._uids = list(pool.map(self.write_pod, range(self._pods)))
            list(pool.map(self._write_service, range(self._services)))

    def changes(self) -> Iterator[Callable[[], object]]:
        """Yield one change after another: 2 in 5 are of no interest to anybody."""
        number = 0
        while True:
            pod = number % self._pods
            yield lambda pod=pod: self._set_condition(pod, "False")
            yield lambda pod=pod: self._delete_pod(pod)
            yield lambda pod=pod, number=number: self._create(pod, number)
            yield lambda pod=pod, number=number: self._set_running(pod, number)
            yield lambda pod=pod: self._set_condition(pod + 1, "True")
            number += 2

    def write_pod(self, number: int, generation: int = 0) -> str:
        """Write a pod that runs; return its uid."""
        uid = self._create(number, generation)
        self._set_running(number, generation)
        return uid

    def _write_set(self, number: int) -> str:
        labels = {"app": f"app-{number}"}
        owner = {**_owner("Deployment", f"app-{number}"), "uid": f"deployment-{number}"}
        spec = {"containers": [{"name": "main", "image": "example/app:1.0"}]}
        body = {
            "metadata": {"name": f"app-{number}-5d9c7b6f4", "ownerReferences": [owner]},
            "spec": {
                "replicas": 10,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
        made = self._request("POST", f"/apis/apps/v1{NAMESPACE}/replicasets", body)
        return str(made["metadata"]["uid"])

    def _create(self, number: int, generation: int) -> str:
        owner_number = number // 10
        name = f"app-{owner_number}-5d9c7b6f4"
        owner = {**_owner("ReplicaSet", name), "uid": self._sets[owner_number]}
        body = {
            "metadata": {
                "name": _pod_name(number),
                "labels": {"app": f"app-{owner_number}", "pod-template-hash": "5d9c7b"},
                "annotations": {"example.com/config": "c" * 500},
                "ownerReferences": [owner],
            },
            "spec": _pod_spec(number, generation),
        }
        made = self._request("POST", f"/api/v1{NAMESPACE}/pods", body)
        return str(made["metadata"]["uid"])

    def _set_running(self, number: int, generation: int) -> None:
        address = f"10.{128 + generation % 64}.{number >> 8 & 255}.{number & 255}"
        state = {"running": {"startedAt": STARTED}}
        container = {
            "name": "main",
            "image": "example/app:1.0",
            "imageID": "example/app@sha256:" + "0" * 64,
            "containerID": "containerd://" + f"{number:064x}",
            "ready": True,
            "restartCount": 0,
            "state": state,
        }
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": STARTED}
            for kind in ("PodReadyToStartContainers", "Initialized", "ContainersReady")
        ]
        self._set_status(
            number,
            {
                "phase": "Running",
                "startTime": STARTED,
                "podIP": address,
                "podIPs": [{"ip": address}],
                "hostIP": "192.0.2.1",
                "containerStatuses": [container],
                "conditions": conditions,
            },
        )

    def _set_condition(self, number: int, value: str) -> None:
        condition = {"type": "Ready", "status": value, "lastTransitionTime": STARTED}
        self._set_status(number, {"conditions": [condition]})

    def _set_status(self, number: int, status: Any) -> None:
        path = f"/api/v1{NAMESPACE}/pods/{_pod_name(number)}/status"
        self._request("PATCH", path, {"status": status})

    def _delete_pod(self, number: int) -> None:
        path = f"/api/v1{NAMESPACE}/pods/{_pod_name(number)}?gracePeriodSeconds=0"
        self._request("DELETE", path)

    def _write_service(self, number: int) -> None:
        name = f"app-{number}"
        spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
        body = {"metadata": {"name": name}, "spec": spec}
        self._request("POST", f"/api/v1{NAMESPACE}/services", body)
        first = number * 10 % self._pods
        endpoints = [
            {
                "addresses": [f"10.128.{pod >> 8 & 255}.{pod & 255}"],
                "targetRef": {"kind": "Pod", "uid": self._uids[pod]},
                "conditions": {"ready": True},
            }
            for pod in range(first, first + 10)
        ]
        labels = {"kubernetes.io/service-name": name}
        body = {
            "metadata": {"name": f"{name}-x", "labels": labels},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        }
        path = f"/apis/discovery.k8s.io/v1{NAMESPACE}/endpointslices"
        self._request("POST", path, body)


def _owner(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name, "controller": True}


def _pod_name(number: int) -> str:
    return f"app-{number // 10}-5d9c7b6f4-{number:05d}"


def _pod_spec(number: int, generation: int) -> dict[str, Any]:
    variables = [{"name": f"SETTING_{n}", "value": "v" * 20} for n in range(15)]
    return {
        "nodeName": f"node-{number % 200}",
        "containers": [
            {
                "name": "main",
                "image": f"example/app:1.{generation}",
                "env": variables,
                "ports": [{"containerPort": 8080}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
            }
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }


class Measured:
    """The collector's process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._directory = Path("/proc", str(process.pid))

    def memory(self) -> dict[str, int]:
        """Return its memory now, and at most so far, in KiB."""
        lines = (self._directory / "status").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines)
        return {
            "rss_kib": int(values["VmRSS"].split()[0]),
            "most_rss_kib": int(values["VmHWM"].split()[0]),
            "private_kib": int(values["RssAnon"].split()[0]),
        }

    def cpu_seconds(self) -> float:
        """Return the CPU time since its start."""
        fields = (self._directory / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def read_bytes(self) -> int:
        """Return how much it has read, from sockets almost alone."""
        lines = (self._directory / "io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["rchar"])


@contextmanager
def started_collector(plane: KubernetesControlPlane, port: int) -> Iterator[Measured]:
    with tempfile.TemporaryDirectory(prefix="ebpfnet-bench-") as directory:
        command = [
            *(sys.executable, "-c", PROGRAM, "k8s-collector"),
            *("--data-dir", directory, "--no-log-file", "--intake-port", str(port)),
            *("--kubeconfig", str(plane.kubeconfig)),
        ]
        with subprocess.Popen(command) as process:
            try:
                yield Measured(process)
            finally:
                process.terminate()


def observe(measured: Measured, sink: MemorySink, seconds: float) -> dict[str, Any]:
    """Return what the collector took meanwhile."""
    began, cpu = time.monotonic(), measured.cpu_seconds()
    read, batches = measured.read_bytes(), len(sink.batches)
    most = 0
    while time.monotonic() - began < seconds:
        most = max(most, measured.memory()["rss_kib"])
        time.sleep(0.2)
    elapsed = time.monotonic() - began
    rows = sum(
        table.num_rows
        for batch in sink.batches[batches:]
        for table in batch.tables.values()
    )
    return {
        "seconds": round(elapsed, 1),
        "core_percent": round(100 * (measured.cpu_seconds() - cpu) / elapsed, 2),
        "read_bytes_per_second": round((measured.read_bytes() - read) / elapsed),
        "rows_sent": rows,
        **measured.memory(),
        "most_rss_kib": most,
    }


def churn(world: World, rate: int, seconds: float) -> int:
    """Change things at a rate; return how many changes there were."""
    began, count = time.monotonic(), 0
    changes = world.changes()
    while time.monotonic() - began < seconds:
        next(changes)()
        count += 1
        time.sleep(max(0.0, began + count / rate - time.monotonic()))
    return count


def measure(options: argparse.Namespace) -> dict[str, Any]:
    sink = MemorySink()
    server = IntakeServer(ServerOptions(port=0), sink)
    server.start()
    with KubernetesControlPlane() as plane:
        world = World(plane, options.pods, options.services)
        world.write()
        print("written", file=sys.stderr)
        began = time.monotonic()
        with started_collector(plane, server.port) as measured:
            with sink.changed:
                sink.changed.wait_for(lambda: sink.batches, 120)
            start = {
                "seconds": round(time.monotonic() - began, 2),
                "cpu_seconds": measured.cpu_seconds(),
                "read_bytes": measured.read_bytes(),
                **measured.memory(),
            }
            rows = {
                name: table.num_rows
                for name, table in sink.snapshots[0].tables.items()
                if table.num_rows
            }
            rest = observe(measured, sink, options.seconds)
            with ThreadPoolExecutor(1) as pool:
                made = pool.submit(churn, world, options.rate, options.seconds)
                changing = observe(measured, sink, options.seconds)
                changing["changes"] = made.result()
            end = measured.memory()
    server.close()
    return {"start": start, "rows": rows, "rest": rest, "churn": changing, "end": end}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=1_000)
    parser.add_argument("--rate", type=int, default=50, help="changes a second")
    parser.add_argument("--seconds", type=float, default=20, help="of each phase")
    parser.add_argument("--quick", action="store_true", help="within 30 seconds")
    options = parser.parse_args()
    if options.quick:
        options.pods, options.services, options.seconds = 1_000, 100, 5.0
    print(json.dumps(measure(options), indent=2))


if __name__ == "__main__":
    main()
