from __future__ import annotations

import pytest

from ebpf_net.reducer.cluster_members import members_of
from ebpf_net.reducer.kubernetes_tables import clusters_of
from ebpf_net.reducer.reference import Change, References
from ebpf_net.testing.kubernetes import Cluster
from ebpf_net.testing.tables import Row, make_table


def clusters() -> list[Cluster]:
    """Two clusters whose nodes share their names."""
    one, other = Cluster("one"), Cluster("other")
    one.add_node("n-1", boot_id="AA-1", machine_id="m1")
    one.add_node("n-2", boot_id="AA-2", machine_id="m2")
    one.add_node("only-one", boot_id="same", machine_id="m3")
    other.add_node("n-1", boot_id="BB-1", machine_id="m1")
    other.add_node("n-2", boot_id="same", machine_id="m4")
    one.add_pod("pod", node_name="n-1")
    other.add_pod("pod", node_name="n-1")
    return [one, other]


def membership(host: Row, *cgroups: Row) -> tuple[str, str, list[str]]:
    """Cluster and node of a host, and the pods of its cgroups."""
    references = References()
    told = {
        "hosts": make_table("hosts", [host]),
        "cgroups": make_table("cgroups", cgroups),
    }
    changes = [Change(1, told, snapshot=False)]
    for source, cluster in enumerate(clusters(), 2):
        made = {name: make_table(name, rows) for name, rows in cluster.tables.items()}
        changes.append(Change(source, made, snapshot=False))
    references.apply(changes, 0)
    known = clusters_of(references.tables)
    members = members_of(references.tables, known)

    def text(table: str, column: str, row: int) -> str:
        return str(known[table][column][row].as_py()) if row >= 0 else ""

    return (
        text("clusters", "name", int(members.host_cluster[0])),
        text("nodes", "node_uid", int(members.host_node[0])),
        [text("pods", "pod_uid", row) for row in members.cgroup_pod.tolist()],
    )


@pytest.mark.parametrize(
    ("host", "cluster", "node"),
    [
        ({"boot_id": "aa-1", "machine_id": "m4"}, "one", "uid-one-n-1"),
        ({"boot_id": "other", "machine_id": "m2"}, "one", "uid-one-n-2"),
        ({"boot_id": "other", "machine_id": "m1"}, "", ""),  # a cloned image
        ({"boot_id": "same", "machine_id": "m4"}, "other", "uid-other-n-2"),
        ({"host_name": "only-one"}, "one", "uid-one-only-one"),
        ({"host_name": "n-1"}, "", ""),
        ({}, "", ""),
    ],
)
def test_host_is_the_node_with_its_ids(host, cluster, node):
    assert membership(host)[:2] == (cluster, node)


def test_host_is_in_the_cluster_of_its_pods():
    pods = [{"cgroup_id": 1, "pod_uid": "uid-other-pod"}, {"cgroup_id": 2}]
    host = {"host_name": "n-1"}
    assert membership(host, *pods) == (
        "other", "uid-other-n-1", ["uid-other-pod", ""],
    )  # fmt: skip


def test_host_of_pods_of_two_clusters_is_in_none():
    pods = [
        {"cgroup_id": 1, "pod_uid": "uid-other-pod"},
        {"cgroup_id": 2, "pod_uid": "uid-one-pod"},
    ]
    assert membership({}, *pods) == ("", "", ["uid-other-pod", "uid-one-pod"])


def test_cgroup_is_found_by_its_container_too():
    cgroup = {"cgroup_id": 1, "container_id": "container-of-uid-one-pod"}
    assert membership({}, cgroup)[2] == ["uid-one-pod"]
