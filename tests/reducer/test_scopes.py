from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from tests.reducer.naming import Told

from ebpf_net.reducer.keys import text_key
from ebpf_net.reducer.pipeline import Reducer, ReducerOptions
from ebpf_net.reducer.reference import References
from ebpf_net.reducer.rows import concat_rows, make_rows
from ebpf_net.reducer.scopes import EVERYWHERE, OUTSIDE, adopt_scopes, scopes_of
from ebpf_net.testing.kubernetes import Cluster
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

BOTH, BLUE_ONLY = "10.0.0.1", "10.0.0.2"
BLUE, GREEN, NEITHER = 1, 2, 3


def scopes(told: Told, *edges: tuple[int, Row]) -> list[int]:
    references = References()
    references.apply(told.changes, 0)
    known = told.names.known(told.engine, references.tables)
    samples = make_table("edge_samples", [])
    rows = concat_rows(
        [
            make_rows(make_table("edges", [row]), samples, source, source)
            for source, row in edges
        ]
    )
    return [int(scope) for scope in scopes_of(rows, known)]


def two_clusters(told: Told) -> None:
    for source, name in ((BLUE, "blue"), (GREEN, "green")):
        cluster = Cluster(name)
        cluster.add_node(f"node-{name}", boot_id=f"boot-{name}")
        cluster.add_pod("both", [BOTH])
        if name == "blue":
            cluster.add_pod("only", [BLUE_ONLY])
        told.tell_cluster(10 + source, cluster)
        told.tell_host(source, name)
    told.tell_host(NEITHER, "outside")


def test_address_of_two_clusters_keeps_rows_in_their_cluster(told):
    two_clusters(told)
    shared = client_row(BLUE_ONLY, BOTH, 80)
    blue, green = (text_key("cluster", f"uid-{name}") for name in ("blue", "green"))
    found = scopes(told, (BLUE, shared), (GREEN, shared), (NEITHER, shared))
    assert found == [blue, green, OUTSIDE]


def test_address_of_one_cluster_or_none_is_the_same_everywhere(told):
    two_clusters(told)
    edges = [
        (source, client_row("172.16.0.1", address, 80))
        for source in (BLUE, GREEN)
        for address in (BLUE_ONLY, "192.0.2.1")
    ]
    assert scopes(told, *edges) == [EVERYWHERE] * 4


def test_pod_tells_the_cluster_of_a_host_that_is_in_two(told):
    two_clusters(told)
    told.tell_host(4, "both")
    told.tell(
        4,
        cgroups=[
            {"cgroup_id": 1, "pod_uid": "uid-blue-both"},
            {"cgroup_id": 2, "pod_uid": "uid-green-both"},
        ],
    )
    edges = [(4, client_row(BOTH, "1.1.1.1", 80, cgroup_id=one)) for one in (1, 2)]
    expected = [text_key("cluster", f"uid-{name}") for name in ("blue", "green")]
    assert scopes(told, *edges) == expected


def test_without_clusters_every_row_is_everywhere(told):
    told.tell_host(BLUE, "host")
    assert scopes(told, (BLUE, client_row(BOTH, BLUE_ONLY, 80))) == [EVERYWHERE]


def test_equal_connections_of_two_clusters_are_counted_apart():
    reducer = Reducer(ReducerOptions(levels=("az_az",)))
    pods = {"client": BOTH, "server": BLUE_ONLY}
    for name, amount in (("blue", 5), ("green", 7)):
        cluster = Cluster(name)
        for pod, address in pods.items():
            node = f"{name}-{pod}"
            cluster.add_node(node, boot_id=f"boot-{node}")
            cluster.add_pod(pod, [address], workload=f"{pod}-of-{name}")
            row = (client_row if pod == "client" else server_row)(
                BOTH, BLUE_ONLY, 80, cgroup_id=1, bytes_sent=amount, opened=1
            )
            uid = f"uid-{name}-{pod}"
            tables = {
                "hosts": [{"host_id": node, "boot_id": f"boot-{node}"}],
                "cgroups": [{"cgroup_id": 1, "pod_uid": uid}],
            }
            header = make_header(0, collector=node)
            end = header.window_end_ns
            reducer.add(make_batch([row], tables=tables, header=header), end, end)
        header = make_header(0, collector=name)
        reducer.add(make_batch(tables=cluster.tables, header=header), end, end)
    (closed,) = reducer.close_windows(end + 10 * WINDOW_NS)
    level = closed.window.levels["az_az"]
    names = level.nodes["workload.name"].to_pylist()
    told = {
        (names[edge["source"]], names[edge["dest"]]): (edge["bytes"], edge["opened"])
        for edge in level.edges.to_pylist()
    }
    reducer.close()
    assert told == {
        ("client-of-blue", "server-of-blue"): (5, 1),
        ("server-of-blue", "client-of-blue"): (0, 1),
        ("client-of-green", "server-of-green"): (7, 1),
        ("server-of-green", "client-of-green"): (0, 1),
    }


# -- one connection of a pod whose address another cluster has, too ----------------

SENT = client_row(BOTH, BLUE_ONLY, 80, bytes_sent=10, opened=1)
GOT = server_row(BOTH, BLUE_ONLY, 80, bytes_received=10, opened=1)
AT_ONCE, MEANWHILE, NEVER = 0, 1, -1


def tell_cluster(reducer: Reducer, window: int, name: str, boot: str) -> None:
    cluster = Cluster(name)
    cluster.add_node(f"node-{name}", boot_id=boot)
    cluster.add_pod("pod", [BOTH, BLUE_ONLY])
    header = make_header(window, collector=name)
    end = header.window_end_ns
    reducer.add(make_batch(tables=cluster.tables, header=header), end, end)


def exchanged(
    windows: Sequence[dict[str, Row]], member: str, other: int = AT_ONCE
) -> Counter:
    """Sums by the zones of hosts a and b, of which one is a member of a cluster.

    The other cluster, which has the same addresses, is heard of first in ``other``.
    """
    reducer, found = Reducer(), Counter()
    for window in range(len(windows) + 3):
        if not window:
            tell_cluster(reducer, window, "blue", f"boot-{member}")
        if window == other:
            tell_cluster(reducer, window, "green", "boot-elsewhere")
        end = START_NS + (window + 1) * WINDOW_NS
        rows = windows[window] if window < len(windows) else {}
        for host in ("a", "b"):
            about = {"host_id": host, "boot_id": f"boot-{host}", "zone": host}
            batch = make_batch(
                [rows[host]] if host in rows else [],
                tables={"hosts": [about]},
                header=make_header(window, collector=host),
            )
            reducer.add(batch, end, end)
        for one in reducer.close_windows(end + WINDOW_NS // 2):
            level = one.window.levels["az_az"]
            zones = level.nodes["availability_zone"].to_pylist()
            for edge in level.edges.to_pylist():
                ends = zones[edge["source"]], zones[edge["dest"]]
                for name in ("bytes", "opened"):
                    found[*ends, name] += edge[name]
    reducer.close()
    return +found


@pytest.mark.parametrize("member", ["a", "b"])
@pytest.mark.parametrize(
    "windows",
    [
        [{"a": SENT, "b": GOT}],
        [{"b": GOT}, {"a": SENT}],
        [{"a": SENT}, {"b": GOT}],
    ],
    ids=["at once", "server first", "client first"],
)
def test_pod_and_a_host_outside_count_once(member, windows):
    counted = exchanged(windows, member)
    assert counted == exchanged(windows, member, NEVER)
    assert sum(counted.values()) == 10 + 2


@pytest.mark.parametrize(
    "windows",
    [[{"b": GOT}, {"a": SENT}], [{"a": SENT}, {"b": GOT}]],
    ids=["held", "remembered"],
)
@pytest.mark.parametrize("member", ["a", "b"])
def test_cluster_heard_of_meanwhile_does_not_count_twice(member, windows):
    counted = exchanged(windows, member, MEANWHILE)
    assert counted == exchanged(windows, member, NEVER)


def test_host_outside_adopts_no_scope_where_two_clusters_have_its_edge():
    blue, green = 5, 7
    row = client_row(BOTH, BLUE_ONLY, 80)
    made = make_rows(
        make_table("edges", [row] * 3), make_table("edge_samples", []), 1, 1
    )
    keys, clusters = made.unscoped_keys, np.array([blue, green])
    before = np.array([blue, green, OUTSIDE])
    assert adopt_scopes(before, keys, clusters, []).tolist() == [blue, green, OUTSIDE]
    before = np.array([green, green, OUTSIDE])
    assert adopt_scopes(before, keys, clusters, []).tolist() == [green] * 3
