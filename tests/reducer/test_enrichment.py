from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.reducer.circumstances import Circumstances, Moment
from ebpf_net.reducer.claims import Span
from ebpf_net.reducer.ends import Circle, Detail
from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.enrichment import distinct_nodes, locate
from ebpf_net.reducer.known import Names
from ebpf_net.reducer.matching import match
from ebpf_net.reducer.memory import Memory
from ebpf_net.reducer.pipeline import ClosedWindow, Reducer, ReducerOptions
from ebpf_net.reducer.reference import Change, References
from ebpf_net.reducer.rows import make_rows
from ebpf_net.schema import NODE_LABELS
from ebpf_net.testing import kubernetes
from ebpf_net.testing.tables import (
    START_NS,
    WINDOW_NS,
    Row,
    client_row,
    make_batch,
    make_header,
    make_table,
    server_row,
)
from ebpf_net.testing.windows import make_level

HOST: Row = {
    "host_id": "host-1", "boot_id": "boot", "namespace": "agents",
    "environment": "prod", "zone": "zone-1",
}  # fmt: skip
CONTAINER: Row = {
    "cgroup_id": 9, "runtime": "docker", "container_id": "0123456789abcdef",
    "container_name": "web", "image": "nginx", "image_version": "1.2",
}  # fmt: skip
FULL = Detail(addresses=True)


def both_ends(
    engine: Engine,
    row: Row,
    detail: Detail = FULL,
    **tables: Sequence[Row],
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The labels of a row's own end and of its peer, without empty ones."""
    references = References()
    made = {name: make_table(name, rows) for name, rows in tables.items()}
    made.setdefault("hosts", make_table("hosts", [HOST]))
    references.apply([Change(1, made, snapshot=False)], 0)
    rows = make_rows(make_table("edges", [row]), make_table("edge_samples", []), 1, 1)
    matched, _, _ = match(
        rows, np.zeros(1, bool), Memory(), Circumstances(0, Moment.ON_TIME)
    )
    names = Names()
    known = names.known(engine, references.tables)
    circle = Circle(names, known, detail, Span(0, 10))
    located = locate(rows, matched, circle)
    nodes = located.nodes.to_pylist()
    own, peer = (
        {label: value for label, value in nodes[number[0]].items() if value}
        for number in (located.own, located.peer)
    )
    return own, peer


def row_of(process_id: int = 5, cgroup_id: int = 9) -> Row:
    return client_row(
        "10.0.0.1", "10.0.0.2", 80, process_id=process_id, cgroup_id=cgroup_id
    )


def test_process_is_named_by_its_comm(engine):
    own, peer = both_ends(
        engine, row_of(), processes=[{"process_id": 5, "comm": "curl"}]
    )
    assert own == {
        "workload.name": "curl",
        "availability_zone": "zone-1",
        "id": "host-1",
        "ip": "10.0.0.1",
        "resolution_type": "PROCESS",
        "environment": "prod",
        "namespace.name": "agents",
        "process.name": "curl",
    }
    assert peer == {
        "workload.name": "(unknown)",
        "availability_zone": "(unknown)",
        "id": "10.0.0.2",
        "ip": "10.0.0.2",
        "resolution_type": "IP",
        "environment": "(no agent)",
    }


def test_service_names_its_processes(engine):
    own, _ = both_ends(
        engine,
        row_of(),
        processes=[{"process_id": 5, "comm": "nginx"}],
        cgroups=[{"cgroup_id": 9, "service": "web-front"}],
    )
    assert own["workload.name"] == "web-front"
    assert own["process.name"] == "nginx"


def test_container_is_found_by_its_cgroup_when_the_process_is_unknown(engine):
    own, _ = both_ends(engine, row_of(), cgroups=[CONTAINER])
    assert own == {
        "workload.name": "web",
        "availability_zone": "zone-1",
        "id": "host-1",
        "ip": "10.0.0.1",
        "resolution_type": "CONTAINER",
        "image_version": "1.2",
        "environment": "prod",
        "namespace.name": "agents",
        "process.name": "(unknown)",
        "container.name": "web",
    }


def test_process_tells_the_cgroup_that_its_row_lacks(engine):
    own, _ = both_ends(
        engine,
        row_of(cgroup_id=0),
        processes=[{"process_id": 5, "comm": "nginx", "cgroup_id": 9}],
        cgroups=[CONTAINER],
    )
    assert own["workload.name"] == "web"


@pytest.mark.parametrize(
    ("changes", "workload", "kind"),
    [
        ({"container_name": ""}, "0123456789ab", "CONTAINER"),
        ({"labels": "{damaged"}, "web", "CONTAINER"),
        (
            {"labels": '{"com.amazonaws.ecs.task-definition-family": "shop"}'},
            "shop",
            "CONTAINER",
        ),
        (
            {
                "labels": '{"com.hashicorp.nomad.job_name": "job",'
                '"com.hashicorp.nomad.task_group_name": "group",'
                '"com.hashicorp.nomad.task_name": "task"}'
            },
            "job.group.task",
            "NOMAD",
        ),
        (
            {"pod_uid": "1-2-3", "labels": '{"io.kubernetes.container.name": "app"}'},
            "app",
            "K8S_CONTAINER",
        ),
    ],
)
def test_container_is_named_by_its_labels(engine, changes, workload, kind):
    own, _ = both_ends(engine, row_of(), cgroups=[{**CONTAINER, **changes}])
    assert (own["workload.name"], own["resolution_type"]) == (workload, kind)


def test_pod_is_told_by_the_labels_of_its_container(engine):
    labels = '{"io.kubernetes.pod.name": "p-1", "io.kubernetes.pod.namespace": "shop"}'
    own, _ = both_ends(engine, row_of(), cgroups=[{**CONTAINER, "labels": labels}])
    assert (own["pod"], own["namespace.name"]) == ("p-1", "shop")


def test_kubelet_is_kubelet_wherever_it_runs(engine):
    own, _ = both_ends(
        engine,
        row_of(),
        processes=[{"process_id": 5, "comm": "kubelet"}],
        cgroups=[CONTAINER],
    )
    assert own["workload.name"] == "kubelet"


def test_unknown_server_at_port_53_is_dns(engine):
    _, peer = both_ends(engine, client_row("10.0.0.1", "10.0.0.2", 53))
    assert (peer["workload.name"], peer["resolution_type"]) == ("DNS", "IP")
    _, peer = both_ends(engine, server_row("10.0.0.1", "10.0.0.2", 53))
    assert peer["workload.name"] == "(unknown)"


def test_metadata_service_is_at_its_client(engine):
    _, peer = both_ends(engine, client_row("10.0.0.1", "169.254.169.254", 80))
    assert peer == {
        "workload.name": "instance metadata",
        "availability_zone": "zone-1",
        "id": "host-1",
        "ip": "169.254.169.254",
        "resolution_type": "INSTANCE_METADATA",
        "environment": "(no agent)",
    }


def test_unknown_loopback_peer_is_on_the_same_host(engine):
    _, peer = both_ends(engine, client_row("127.0.0.1", "127.0.0.1", 80))
    assert (peer["resolution_type"], peer["id"]) == ("LOCALHOST", "host-1")


def test_host_that_is_not_known_yet_leaves_an_unknown_id(engine):
    own, _ = both_ends(engine, row_of(), hosts=[])
    assert (own["id"], own["availability_zone"]) == ("(unknown)", "(unknown)")


def test_addresses_are_left_out_where_they_are_not_wanted(engine):
    own, peer = both_ends(engine, row_of(), Detail(addresses=False))
    assert not {"id", "ip", "pod"} & {*own, *peer}
    own, peer = both_ends(engine, row_of(), Detail(addresses=True, ip=False))
    assert (own["id"], peer["id"]) == ("host-1", "10.0.0.2")
    assert not {"ip"} & {*own, *peer}


def test_equal_nodes_become_one():
    nodes = make_level(
        [{"workload.name": name} for name in ("a", "b", "a", "")], []
    ).nodes
    number, distinct = distinct_nodes(nodes)
    assert number.tolist() == [0, 1, 0, 2]
    assert distinct.column(NODE_LABELS[0]).to_pylist() == ["a", "b", ""]


# -- names by the time of a window, through the whole reducer --------------------------

POD = "10.244.0.9"


def at(window: int, seconds: int = 0) -> int:
    return START_NS + window * WINDOW_NS + seconds * 1_000_000_000


class Cluster(kubernetes.Cluster):
    """A cluster of one node, whose collector sees a client of POD in each window."""

    def __init__(self) -> None:
        super().__init__()
        self.add_node("node", boot_id="boot")

    def batches(self, window: int) -> list[DecodedBatch]:
        """What both collectors send; of the cluster what is new."""
        header = make_header(window, collector="cluster")
        tables, self.tables = self.tables, {}
        return [make_batch(tables=tables, header=header), node_batch(window)]

    def end_pod(self, uid: str, until_ns: int) -> None:
        """Remove a pod and give back its address."""
        self.add_address("pod", uid, POD, until_ns=until_ns, removed=True)
        self._add("pods", pod_uid=uid, removed=True)


def node_batch(window: int) -> DecodedBatch:
    host = {"host_id": "node", "boot_id": "boot"}
    header = make_header(window, collector="node")
    edge = client_row("10.0.0.1", POD, 80, bytes_sent=1)
    return make_batch([edge], tables={"hosts": [host]}, header=header)


def reduce(reducer: Reducer, window: int, *batches: DecodedBatch) -> list[set[str]]:
    """The workloads at POD in each window that closes when this one does."""
    for batch in batches:
        reducer.add(batch, at(window + 1, 1), at(window + 1, 1))
    closed = reducer.close_windows(at(window + 1, 3))
    return [names_at_pod(one) for one in closed]


def names_at_pod(closed: ClosedWindow) -> set[str]:
    nodes = closed.window.levels["id_id"].nodes.to_pylist()
    return {node["workload.name"] for node in nodes if node["ip"] == POD}


@pytest.fixture
def reducer() -> Iterator[Reducer]:
    made = Reducer(ReducerOptions(levels=("id_id",)))
    yield made
    made.close()


def test_reused_address_is_the_pods_that_had_it_longest_in_the_window(reducer):
    cluster = Cluster()
    old = cluster.add_pod("old", [POD], span=(at(0), 0))
    assert reduce(reducer, 0, *cluster.batches(0)) == [{"old"}]
    cluster.end_pod(old, at(1, 7))
    cluster.add_pod("new", [POD], span=(at(1, 8), 0))
    assert reduce(reducer, 1, *cluster.batches(1)) == [{"old"}]
    assert reduce(reducer, 2, *cluster.batches(2)) == [{"new"}]


def test_late_rows_find_the_pod_that_has_gone_since(reducer):
    cluster = Cluster()
    old = cluster.add_pod("old", [POD], span=(at(0), 0))
    reduce(reducer, 0, *cluster.batches(0)[:1])
    cluster.end_pod(old, at(1, 2))
    cluster.add_pod("new", [POD], span=(at(1, 2), 0))
    assert reduce(reducer, 1, *cluster.batches(1)) == [{"new"}]
    assert reduce(reducer, 2, node_batch(0)) == [{"old"}]


def test_names_outlive_a_restart_of_the_reducer(reducer):
    cluster = Cluster()
    cluster.add_pod("old", [POD], span=(at(0), 0))
    reduce(reducer, 0, *cluster.batches(0))
    other = Reducer(ReducerOptions(levels=("id_id",)))
    other.restore(reducer.state())
    assert reduce(other, 1, *cluster.batches(1)) == [{"old"}]
    other.close()
