import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collectors.kubernetes.shapes import (
    SECOND_NS,
    STARTED_NS,
    make_node,
    make_partial,
    make_pod,
    make_service,
    make_slice,
    owner,
    rows_of,
)

from ebpf_net.collectors.encode import encode_body
from ebpf_net.collectors.kubernetes.cluster import Cluster, ClusterOptions
from ebpf_net.intake.decode import decode_tables
from ebpf_net.testing.kernel import TurnedClock

NOW_NS = STARTED_NS + 3600 * SECOND_NS


class Watched:
    def __init__(self, **options):
        self.clock = TurnedClock(NOW_NS)
        self.cluster = Cluster(ClusterOptions("c-1", "prod", **options), self.clock)
        self.cluster.forget_changes()

    def put(self, *objects):
        names = {"Pod": "pods", "Service": "services", "Node": "nodes"}
        for one in objects:
            self.cluster.put(names.get(type(one).__name__, "endpointslices"), one)

    def told(self, table, *columns):
        rows = rows_of(self.cluster.changes(), f"kubernetes_{table}")
        return sorted(tuple(row[column] for column in columns) for row in rows)

    def known(self, table, *columns):
        rows = rows_of(self.cluster.snapshot(), f"kubernetes_{table}")
        return sorted(tuple(row[column] for column in columns) for row in rows)


def test_a_cluster_has_a_name():
    cluster = Cluster(ClusterOptions("c-1", "prod"), TurnedClock(0))
    assert rows_of(cluster.changes(), "kubernetes_clusters") == [
        {"cluster_uid": "c-1", "name": "prod", "removed": False}
    ]


def test_a_snapshot_has_every_table():
    watched = Watched()
    watched.put(make_pod(), make_service(), make_slice(), make_node())
    watched.cluster.put("namespaces", make_partial("default", "ns"))
    tables = watched.cluster.snapshot()
    counts = {name: len(rows_of(tables, name)) for name in tables}
    assert counts == {
        "kubernetes_clusters": 1,
        "kubernetes_nodes": 1,
        "kubernetes_namespaces": 1,
        "kubernetes_pods": 1,
        "kubernetes_containers": 1,
        "kubernetes_services": 1,
        "kubernetes_addresses": 3,
        "kubernetes_endpoints": 1,
    }


def test_nothing_new_is_nothing_to_tell():
    watched = Watched()
    watched.put(make_pod(), make_service(), make_slice(), make_node())
    assert watched.cluster.changes()
    watched.put(make_pod(), make_service(), make_slice(), make_node())
    assert watched.cluster.changes() == {}


ADDRESS = ("address_key", "from_ns", "until_ns", "removed")


def test_a_deleted_pod_ends_at_once_and_goes_later():
    watched = Watched()
    watched.put(make_pod())
    watched.cluster.changes()
    watched.cluster.drop("pods", "pod-1")
    key = "pod-1/10.1.0.1"
    assert watched.told("addresses", *ADDRESS) == [(key, STARTED_NS, NOW_NS, False)]
    watched.clock.advance(59 * SECOND_NS)
    assert watched.cluster.changes() == {}
    assert watched.known("pods", "pod_uid") == [("pod-1",)]
    watched.clock.advance(SECOND_NS)
    tables = watched.cluster.changes()
    assert {
        name: [row["removed"] for row in rows_of(tables, name)] for name in tables
    } == {
        "kubernetes_pods": [True],
        "kubernetes_containers": [True],
        "kubernetes_addresses": [True],
    }
    assert rows_of(tables, "kubernetes_addresses")[0]["until_ns"] == NOW_NS
    assert watched.known("pods", "pod_uid") == []


def test_a_finished_pods_address_ends_when_its_last_container_did():
    watched = Watched()
    watched.put(make_pod())
    watched.put(finished_pod("2026-01-01T00:30:00Z"))
    end_ns = STARTED_NS + 1801 * SECOND_NS
    assert watched.told("addresses", "until_ns") == [(end_ns,)]
    watched.put(make_pod(phase="Succeeded"))
    watched.cluster.drop("pods", "pod-1")
    assert watched.known("addresses", "until_ns") == [(end_ns,)]
    watched.clock.advance(60 * SECOND_NS)
    assert watched.known("pods", "pod_uid") == []


def finished_pod(time, uid="pod-1"):
    terminated = {"terminated": {"finishedAt": time}}
    status = {"containerStatuses": [{"name": "main", "state": terminated}]}
    return make_pod(uid=uid, phase="Succeeded", status=status)


def test_a_pod_that_ended_before_it_was_seen_is_known_for_as_long():
    watched = Watched()
    recent = finished_pod("2026-01-01T00:59:30Z")  # it is 01:00:00
    watched.put(recent, finished_pod("2026-01-01T00:58:59Z", "old"))
    end_ns = NOW_NS - 29 * SECOND_NS
    assert watched.told("addresses", "address_key", "from_ns", "until_ns") == [
        ("pod-1/10.1.0.1", STARTED_NS, end_ns)
    ]
    assert watched.known("pods", "pod_uid") == [("pod-1",)]
    watched.clock.advance(60 * SECOND_NS)
    assert watched.known("pods", "pod_uid") == []
    watched.put(recent)
    assert watched.known("pods", "pod_uid") == []


def test_pods_that_finished_before_are_nobody():
    watched = Watched()
    watched.put(make_pod(phase="Succeeded"), make_pod(uid="p2", phase="Failed"))
    watched.cluster.drop("pods", "pod-1")
    assert watched.cluster.changes() == {}


def test_an_address_that_changes_ends_and_begins_now():
    watched = Watched()
    watched.put(make_pod())
    watched.cluster.changes()
    watched.put(make_pod(address="10.1.0.2"))
    assert watched.told("addresses", *ADDRESS) == [
        ("pod-1/10.1.0.1", STARTED_NS, NOW_NS, False),
        ("pod-1/10.1.0.2", NOW_NS, 0, False),
    ]
    watched.clock.advance(60 * SECOND_NS)
    assert watched.told("addresses", *ADDRESS) == [
        ("pod-1/10.1.0.1", STARTED_NS, NOW_NS, True)
    ]
    assert watched.known("addresses", "address_key") == [("pod-1/10.1.0.2",)]


def test_an_address_that_is_back_is_not_removed():
    watched = Watched()
    watched.put(make_pod(), make_pod(address="10.1.0.2"))
    watched.clock.advance(30 * SECOND_NS)
    watched.put(make_pod())
    watched.clock.advance(30 * SECOND_NS)
    assert watched.known("addresses", "address_key", "until_ns") == [
        ("pod-1/10.1.0.1", 0),
        ("pod-1/10.1.0.2", NOW_NS + 30 * SECOND_NS),
    ]
    watched.clock.advance(30 * SECOND_NS)
    assert watched.known("addresses", "address_key") == [("pod-1/10.1.0.1",)]


def test_an_address_used_again_is_told_of_both():
    watched = Watched()
    watched.put(make_pod())
    watched.cluster.drop("pods", "pod-1")
    watched.put(make_pod(uid="pod-2", status={"startTime": "2026-01-01T01:00:05Z"}))
    assert watched.known("addresses", "owner_uid", "from_ns", "until_ns") == [
        ("pod-1", STARTED_NS, NOW_NS),
        ("pod-2", NOW_NS + 5 * SECOND_NS, 0),
    ]


def test_a_list_ends_what_it_has_not():
    watched = Watched()
    watched.put(make_pod(uid="a"), make_pod(uid="b", address="10.1.0.2"))
    watched.put(make_service(), make_slice(), make_node())
    watched.cluster.put("jobs", make_partial("j", "j"))
    watched.cluster.changes()
    watched.cluster.retain("pods", {"b", "c"})
    for resource in ("services", "endpointslices", "nodes", "jobs", "namespaces"):
        watched.cluster.retain(resource, set())
    assert watched.told("addresses", "owner_uid", "until_ns") == [
        ("a", NOW_NS),
        ("node-uid", NOW_NS),
        ("svc-1", NOW_NS),
    ]
    watched.clock.advance(60 * SECOND_NS)
    assert watched.known("pods", "pod_uid") == [("b",)]
    assert watched.known("services", "name") == []


def test_over_the_capacity_the_oldest_goes_first():
    watched = Watched(delete_capacity=2)
    pods = [make_pod(uid=uid, address="") for uid in "abc"]
    watched.put(*pods)
    for pod in pods:
        watched.cluster.drop("pods", pod.metadata.uid)
    assert watched.known("pods", "pod_uid") == [("b",), ("c",)]


def test_one_that_is_back_after_all_stays():
    watched = Watched()
    watched.put(make_pod())
    watched.cluster.drop("pods", "pod-1")
    watched.put(make_pod())
    watched.clock.advance(61 * SECOND_NS)
    assert watched.known("pods", "pod_uid") == [("pod-1",)]
    assert watched.known("addresses", "from_ns", "until_ns") == [(NOW_NS, 0)]


def test_a_service_made_anew_has_its_backends():
    watched = Watched()
    watched.put(make_service(), make_slice())
    watched.cluster.drop("services", "svc-1")
    watched.put(make_service(uid="svc-2"))
    assert watched.known("endpoints", "service_uid") == [("svc-2",)]
    watched.clock.advance(60 * SECOND_NS)
    assert watched.known("services", "service_uid") == [("svc-2",)]
    assert watched.known("endpoints", "service_uid") == [("svc-2",)]


def test_owners_are_told_when_they_come():
    watched = Watched()
    watched.put(
        make_pod(meta={"ownerReferences": [owner("Job", "j", "j", "batch/v1")]})
    )
    assert watched.cluster.unresolved() == 1
    of_cron = {"ownerReferences": [owner("CronJob", "nightly", "n", "batch/v1")]}
    watched.cluster.put("jobs", make_partial("j", "j", **of_cron))
    assert watched.told("pods", "workload_kind", "workload_name") == [
        ("CronJob", "nightly")
    ]
    assert watched.cluster.unresolved() == 0


def test_what_a_snapshot_had_no_room_for_is_told_after_it():
    watched = Watched()
    watched.put(make_pod(uid="a"), make_pod(uid="b"))
    watched.cluster.changes()
    watched.cluster.tell_again([{"kubernetes_pods": {"pod_uid": ["b", "gone"]}}])
    assert watched.told("pods", "pod_uid") == [("b",)]


@pytest.mark.parametrize("named", [True, False])
def test_all_rows_are_told_anew_and_who_it_is_if_asked_to(named):
    watched = Watched()
    watched.put(make_pod(uid="a"), make_pod(uid="b"))
    watched.cluster.changes()
    watched.cluster.drop("pods", "b")
    watched.cluster.restate(named=named)
    tables = watched.cluster.changes()
    assert sorted(one["pod_uid"] for one in rows_of(tables, "kubernetes_pods")) == [
        *("a", "b"),
    ]
    assert ("kubernetes_clusters" in tables) == named


def test_rows_are_counted():
    watched = Watched()
    watched.put(make_pod())
    status = watched.cluster.status()
    assert status["kubernetes.rows.pods"] == 1
    assert status["kubernetes.rows.addresses"] == 1
    assert status["kubernetes.ending"] == 0


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "finish", "drop", "retain", "wait", "tell"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["10.1.0.1", "10.1.0.2", ""]),
    ),
    max_size=25,
)


@given(_STEPS)
@pytest.mark.parametrize("capacity", [1, 1000])
def test_changes_add_up_to_the_snapshot(capacity, steps):
    watched = Watched(delete_capacity=capacity)
    told = {name: {} for name in watched.cluster.snapshot()}
    told["kubernetes_clusters"] = {"c-1": ("c-1", "prod")}

    def take():
        for name, table in watched.cluster.changes().items():
            for row in rows_of({name: table}, name):
                *values, removed = row.values()
                told[name].pop(values[0], None)
                if not removed:
                    told[name][values[0]] = tuple(values)

    for step, uid, address in steps:
        if step == "put":
            watched.put(make_pod(uid=uid, address=address))
        elif step == "finish":
            watched.put(make_pod(uid=uid, address=address, phase="Failed"))
        elif step == "drop":
            watched.cluster.drop("pods", uid)
        elif step == "retain":
            watched.cluster.retain("pods", {uid})
        elif step == "wait":
            watched.clock.advance(40 * SECOND_NS)
        else:
            take()
    take()
    assert told == {
        name: {row[key]: tuple(row.values())[:-1] for row in rows_of({name: t}, name)}
        for name, t in watched.cluster.snapshot().items()
        for key in list(t)[:1]
    }


def put_all(order):
    of_web = {"ownerReferences": [owner("Deployment", "web", "d")]}
    of_set = {"ownerReferences": [owner("ReplicaSet", "web-1", "rs")]}
    objects = [
        ("replicasets", make_partial("web-1", "rs", **of_web)),
        ("pods", make_pod(uid="a", meta=of_set)),
        ("pods", make_pod(uid="b", address="10.1.0.2", meta=of_set)),
        ("services", make_service()),
        ("endpointslices", make_slice(uid="s1", pods=[("10.1.0.1", "a")])),
        ("endpointslices", make_slice(uid="s2", pods=[("10.1.0.2", "b")])),
        ("nodes", make_node()),
        ("namespaces", make_partial("default", "ns")),
    ]
    watched = Watched()
    for place in order:
        watched.cluster.put(*objects[place])
    return watched


def all_rows(cluster):
    tables = cluster.snapshot()
    return {
        name: sorted(tuple(row.values()) for row in rows_of(tables, name))
        for name in tables
    }


@given(st.permutations(range(8)))
def test_objects_make_the_same_rows_in_any_order(order):
    watched = put_all(order)
    assert all_rows(watched.cluster) == all_rows(put_all(range(8)).cluster)
    assert watched.known("pods", "workload_name") == [("web",), ("web",)]


def test_nothing_is_kept_of_what_has_gone():
    watched = put_all(range(8))
    for resource in (
        *("replicasets", "jobs", "pods", "services"),
        *("endpointslices", "nodes", "namespaces"),
    ):
        watched.cluster.retain(resource, set())
    watched.clock.advance(60 * SECOND_NS)
    watched.cluster.changes()
    cluster = watched.cluster
    kept = [
        *(vars(part) for part in (cluster._pods, cluster._backends)),
        {**vars(cluster), "_owners_listed": None, "_rows": None},
    ]
    sizes = {
        name: len(value)
        for part in kept
        for name, value in part.items()
        if hasattr(value, "__len__")
    }
    assert {name for name, size in sizes.items() if size} == set()
    assert [name for name, rows in all_rows(cluster).items() if rows] == [
        "kubernetes_clusters"
    ]


def test_no_text_of_a_pod_makes_the_intake_refuse_all():
    watched = Watched()
    long = "\u20ac" * 70_000
    statuses = [{"name": "main", "containerID": "x://" + long}]
    watched.put(
        make_pod(
            meta={"ownerReferences": [owner(long, long, long)]},
            spec={"containers": [{"name": "main", "image": long}]},
            phase=long,
            status={"containerStatuses": statuses},
        )
    )
    watched.put(make_node())
    tables = watched.cluster.changes()
    decoded = decode_tables(encode_body(tables))
    assert decoded["kubernetes_nodes"].num_rows == 1
    assert decoded["kubernetes_pods"].num_rows == 1
    assert watched.cluster.status()["kubernetes.cut"] > 3
