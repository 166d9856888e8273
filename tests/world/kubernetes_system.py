"""This system watching a cluster: its node's collector and the cluster's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.world.hosts import Cgroup
from tests.world.kubernetes import KubernetesCluster
from tests.world.kubernetes_api import Object
from tests.world.kubernetes_edges import (
    Edges,
    add_reports,
    describe_difference,
    read_edges,
    target,
    without,
)
from tests.world.kubernetes_manifests import WAIT, service, workload
from tests.world.kubernetes_node import Node
from tests.world.otel_collector import OtelCollector, run_otel_collector
from tests.world.programs import Program
from tests.world.system import System, command
from tests.world.waiting import wait_until

CLUSTER_NAME = "cluster-1"
LEASE = "ebpf-net-k8s-collector"
_LEASE_SECONDS = 3
_OTHER_METRICS = (
    *("tcp.packets", "tcp.retrans", "tcp.resets", "tcp.syn_timeouts", "tcp.active"),
    *("tcp.rtt.average", "tcp.rtt", "tcp.connect.duration"),
    *("udp.packets", "udp.drops", "udp.active"),
)
_TIMEOUT_SECONDS = 30


class WatchedCluster:
    """A cluster, the system that watches it, and what came out at the far end.

    What runs on the node outside pods is not watched: it is never at rest.
    """

    def __init__(
        self,
        cluster: KubernetesCluster,
        system: System,
        otel: OtelCollector,
        lease: str = LEASE,
    ) -> None:
        self._lease = lease
        self.cluster = cluster
        self.system = system
        self.otel = otel
        self._programs: list[Program] = []

    def start(self, nodes: Iterable[Node], *node_flags: str) -> None:
        """Start reducer and collectors, and wait until the reducer heard of them."""
        self.system.start_reducer("--disable-metrics", ",".join(_OTHER_METRICS))
        self.start_replica("replica-1")
        for node in nodes:
            self.start_node_collector(node, *node_flags)

    def start_node_collector(self, node: Node, *flags: str) -> Program:
        """Start the collector of a node."""
        host = node.host
        # The namespace of a node that is not the machine's is looked at for its
        # translations only if somebody in it is watched.
        inside = Cgroup(f"{host.cgroup.path}/watched-{self._lease}")
        sleep = ("nsenter", f"--net=/run/netns/{host.netns}", "sleep", "infinity")
        log = self.system.directory / f"{host.name}.sleep.log"
        self._programs.append(Program(inside.wrap(sleep), log))
        outside_pods = f"{host.cgroup.path}/system"
        return self.system.start_collector(
            host, "--exclude-cgroup", outside_pods, *flags
        )

    def start_replica(self, name: str) -> Program:
        """Start a replica of the cluster's collector; the former, if any, has ended."""
        kubeconfig = self.cluster.kubeconfig
        return start_kubernetes_collector(
            self.system, name, kubeconfig, CLUSTER_NAME, self._lease
        )

    def start_web(self, namespace: str) -> None:
        """Make a namespace with ``web``, its Service, and ``caller`` to call it."""
        cluster = self.cluster
        cluster.create_namespace(namespace)
        cluster.apply(
            workload("Deployment", "web"),
            service("web"),
            workload("Deployment", "caller", WAIT),
            namespace=namespace,
        )
        cluster.wait_for_pods("app=caller", 1, namespace)
        cluster.wait_for_pods("app=web", 1, namespace)
        cluster.wait_for_service("web", namespace, pods=1)

    def web_targets(self, namespace: str) -> list[str]:
        """Return where the Service ``web`` is called, by IPv4 and IPv6."""
        addresses = self.cluster.service_addresses("web", namespace)
        return [target(address, 80) for address in addresses]

    def call(
        self, namespace: str, app: str, targets: Iterable[str], *flags: str
    ) -> Object:
        """Let the only pod of an app call all of these; return what it counted."""
        (pod,) = self.cluster.pods(f"app={app}", namespace)
        name = pod["metadata"]["name"]
        call = self.cluster.call
        return add_reports(
            [call(name, one, *flags, namespace=namespace) for one in targets]
        )

    def edges(self, namespace: str) -> Edges:
        """Return what was told so far of the ends in a namespace."""
        return read_edges(self.otel, namespace)

    def wait_for_edges(
        self, namespace: str, expected: Edges, leaving_out: str = ""
    ) -> None:
        """Wait until exactly this was told, and see that nothing comes after it."""
        wait_for_edges(namespace, [(self, expected)], leaving_out)

    def wait_for_windows(self, count: int) -> None:
        """Wait until so many more windows have been delivered."""
        wait_for_windows([self], count)

    def count_windows(self) -> float:
        """Return how many windows have been delivered."""
        return self.system.count_internal("ebpf_net_export_windows")

    def close(self) -> None:
        """End what keeps the node's network namespace watched."""
        for program in self._programs:
            program.kill()

    def labels(
        self, metric: str, attributes: Mapping[str, object]
    ) -> list[dict[str, str]]:
        """Return the distinct attributes of points of a metric that have these."""
        wanted = {"aggregation": "id_id", **attributes}
        found = {
            tuple(sorted(point.attributes.items()))
            for point in self.otel.points(metric, wanted)
        }
        return [dict(items) for items in sorted(found)]


def wait_for_edges(
    namespace: str,
    expected: Sequence[tuple[WatchedCluster, Edges]],
    leaving_out: str = "",
) -> None:
    """Wait until each system told exactly this, and see that nothing comes after it."""

    def differences() -> list[str]:
        return [
            f"\n{watched.system.directory}: {describe_difference(wanted, told)}"
            for watched, edges in expected
            if (wanted := without(edges, leaving_out))
            != (told := without(watched.edges(namespace), leaving_out))
        ]

    wait_until(lambda: not differences(), _TIMEOUT_SECONDS, differences)
    wait_for_windows([watched for watched, _ in expected], 2)
    assert not differences()


def wait_for_windows(systems: Sequence[WatchedCluster], count: int) -> None:
    """Wait until each has delivered so many more windows."""
    wanted = [(watched, watched.count_windows() + count) for watched in systems]

    def are_delivered() -> bool:
        return all(watched.count_windows() >= windows for watched, windows in wanted)

    wait_until(are_delivered, _TIMEOUT_SECONDS)


def start_kubernetes_collector(
    system: System, name: str, kubeconfig: Path, cluster_name: str, lease: str = LEASE
) -> Program:
    """Start a replica of a cluster's collector; ``system`` ends it.

    It counts as the cluster's, of which the reducer hears, in place of a former one.
    """
    program = Program(
        [
            *(command("ebpf-net"), "k8s-collector", "--log-console", "--no-log-file"),
            *("--interval-seconds", "1", "--intake-port", str(system.intake_port)),
            *("--lease-duration-seconds", str(_LEASE_SECONDS)),
            *("--lease-name", lease, "--lease-namespace", "default"),
            *("--log-level", "debug"),
            *("--kubeconfig", str(kubeconfig), "--cluster-name", cluster_name),
            *("--collector-hostname", name),
        ],
        system.directory / f"{name}.log",
        {"EBPF_NET_DATA_DIR": str(system.directory / name)},
    )
    system.collectors[cluster_name] = program
    program.wait_ready(lambda: "watching" in program.read_log())
    return program


@contextmanager
def watch_cluster(
    cluster: KubernetesCluster,
    directory: Path,
    lease: str,
    *node_flags: str,
    nodes: Sequence[Node] = (),
) -> Iterator[WatchedCluster]:
    """Watch a cluster with a system, and a receiver, of its own.

    The collectors are those of ``nodes``, of the first one where none is named.
    """
    with run_otel_collector(directory) as otel, System(directory, otel) as system:
        watched = WatchedCluster(cluster, system, otel, lease)
        try:
            watched.start(nodes or [cluster.node], *node_flags)
            yield watched
        finally:
            watched.close()


@pytest.fixture(scope="session")
def watched(
    kubernetes: KubernetesCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedCluster]:
    """The cluster that tests share, watched; tests have namespaces of their own."""
    directory = tmp_path_factory.mktemp("watched")
    with watch_cluster(kubernetes, directory, LEASE) as watched:
        yield watched
