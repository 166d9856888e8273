from __future__ import annotations

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.kubernetes_tables import Clusters, InClusters, clusters_of
from ebpf_net.reducer.reference import KEEP_WINDOWS, Change, References
from ebpf_net.testing.kubernetes import Cluster
from ebpf_net.testing.tables import make_table


def change(source: int, cluster: Cluster, *, snapshot: bool = False) -> Change:
    tables = {name: make_table(name, rows) for name, rows in cluster.tables.items()}
    return Change(source, tables, snapshot)


def pods_in(clusters: Clusters) -> list[tuple[str, str, str]]:
    """Cluster, name and workload of each pod."""
    uids = clusters["clusters"]["cluster_uid"].to_pylist()
    return sorted(
        (uids[row["cluster"]], row["name"], row["workload_name"])
        for row in clusters["pods"].to_pylist()
    )


def test_rows_have_the_cluster_that_their_source_names():
    references = References()
    one, other = Cluster("one"), Cluster("other")
    one.add_pod("a", workload="web")
    other.add_pod("a", workload="shop")
    references.apply([change(1, one), change(2, other)], 0)
    clusters = clusters_of(references.tables)
    assert pods_in(clusters) == [("uid-one", "a", "web"), ("uid-other", "a", "shop")]
    assert clusters
    assert not clusters_of(References().tables)


def test_rows_whose_source_names_no_cluster_count_as_soon_as_it_does():
    references = References()
    cluster = Cluster("one")
    cluster.add_pod("a")
    named = cluster.tables.pop("kubernetes_clusters")
    references.apply([change(1, cluster)], 0)
    assert pods_in(clusters_of(references.tables)) == []
    cluster.tables["kubernetes_clusters"] = named
    references.apply([change(1, cluster)], 0)
    assert pods_in(clusters_of(references.tables)) == [("uid-one", "a", "a")]


def test_who_names_a_cluster_last_is_believed():
    references = References()
    before, after = Cluster("one"), Cluster("one")
    before.add_pod("a", workload="old")
    before.add_pod("gone")
    after.add_pod("a", workload="new")
    references.apply([change(1, before, snapshot=True)], 0)
    references.apply([change(2, after, snapshot=True)], 3)
    expected = [("uid-one", "a", "new"), ("uid-one", "gone", "gone")]
    assert pods_in(clusters_of(references.tables)) == expected
    late = Cluster("one")
    late.add_pod("a", workload="older")
    del late.tables["kubernetes_clusters"]
    references.apply([change(1, late)], 3)
    assert pods_in(clusters_of(references.tables)) == expected
    references.forget(3 + KEEP_WINDOWS + 1, frozenset())
    assert pods_in(clusters_of(references.tables)) == expected[:1]


def test_who_comes_back_is_believed_again():
    references = References()
    one, other = Cluster("one"), Cluster("one")
    one.add_pod("a", workload="one")
    other.add_pod("a", workload="other")
    for window, (source, cluster) in enumerate([(1, one), (2, other), (1, one)]):
        references.apply([change(source, cluster, snapshot=True)], window)
    references.forget(99, frozenset())
    assert pods_in(clusters_of(references.tables)) == [("uid-one", "a", "one")]


def test_text_is_found_in_its_cluster_or_as_the_only_one():
    column = pa.chunked_array([["x", "x", "y", "", "x"]])
    rows = InClusters(np.array([0, 1, 1, 1, 1]), column)
    wanted = pa.chunked_array([["x", "x", "x", "y", "", "z"]])
    cluster = np.array([0, 1, -1, 0, 1, 0])
    assert rows.find(cluster, wanted).tolist() == [0, 4, -1, 2, -1, -1]
    assert rows.find_within(cluster, wanted).tolist() == [0, 4, -1, -1, -1, -1]
