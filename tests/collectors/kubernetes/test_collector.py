from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.collectors.kubernetes.fake_api import FakeApi, failed
from tests.collectors.kubernetes.told import Told
from tests.collectors.kubernetes.written import Written, owned_by
from tests.world.waiting import wait_until

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.kubernetes.access import Access, read_kubeconfig
from ebpf_net.collectors.kubernetes.api import ApiServer
from ebpf_net.collectors.kubernetes.collector import (
    CollectorOptions,
    KubernetesCollector,
)
from ebpf_net.collectors.kubernetes.credentials import Credentials
from ebpf_net.collectors.kubernetes.lease import LeaseOptions
from ebpf_net.collectors.kubernetes.reflector import Pace
from ebpf_net.intake.batch import BatchKind

INTERVAL_NS = 500_000_000
PACE = Pace(forbidden_seconds=0.2, max_backoff_seconds=0.5)
OPTIONS = CollectorOptions(
    "host-1", "prod", interval_seconds=0.5, delete_ttl_seconds=1.0, pace=PACE
)


@contextmanager
def collecting(kubeconfig, options=OPTIONS) -> Iterator[Told]:
    access = read_kubeconfig((kubeconfig,))
    told = Told()
    api = ApiServer(access, Credentials(access))
    collector = KubernetesCollector(api, options, SystemClock(), told.connect)
    thread = threading.Thread(target=collector.run)
    thread.start()
    told.stop = lambda: (collector.stop(), thread.join(20))
    try:
        yield told
    finally:
        told.stop()
        assert not thread.is_alive()


@pytest.fixture
def written(control_plane, request) -> Written:
    name = request.node.name.replace("_", "-").removeprefix("test-")[:60].strip("-")
    return Written(control_plane.api, name)


def test_what_is_there_is_told_at_once(control_plane, written):
    set_uid = written.replica_set("web-1", owned_by("Deployment", "web", "d-1"))
    uid = written.pod("web-1-a", "10.1.0.1", owned_by("ReplicaSet", "web-1", set_uid))
    service = written.service("web")
    written.endpoint_slice("web", "10.1.0.1", uid)
    with collecting(control_plane.kubeconfig) as told:
        told.wait_for("endpoints", ("service_uid", "pod_uid"), (service, uid))
        workload = ("workload_kind", "workload_name", "workload_uid")
        assert ("Deployment", "web", "d-1") in told.rows("pods", *workload)
        system = control_plane.api.request("GET", "/api/v1/namespaces/kube-system")
        cluster_uid = system["metadata"]["uid"]
        assert told.rows("clusters", "cluster_uid", "name") == [(cluster_uid, "prod")]
        wait_until(told.windows, 10)
        first, second = told.headers[:2]
        assert (first.kind, second.kind) == (BatchKind.SNAPSHOT, BatchKind.WINDOW)
        assert second.collector == f"kubernetes-{cluster_uid}"
        assert second.host == "host-1"


def test_windows_follow_one_another_on_the_grid(control_plane):
    with collecting(control_plane.kubeconfig) as told:
        wait_until(lambda: len(told.windows()) >= 4, 20)
        told.stop()
        windows = told.windows()
    assert [one.sequence for one in windows] == list(range(1, len(windows) + 1))
    ends = [one.window_end_ns for one in windows]
    assert [one.window_start_ns for one in windows[1:]] == ends[:-1]
    assert {end % INTERVAL_NS for end in ends[1:-1]} == {0}
    assert told.closed == 1


def test_what_changes_of_a_live_pod_is_told(control_plane, written):
    with collecting(control_plane.kubeconfig) as told:
        wait_until(told.windows, 20)
        uid = written.pod("web", "10.2.0.1")
        key = ("owner_uid", "until_ns")
        told.wait_for("addresses", key, (uid, 0))
        job = written.job("j", owned_by("CronJob", "nightly", "n", "batch/v1"))
        path = f"/api/v1/namespaces/{written.namespace}/pods/web"
        reference = {
            **owned_by("Job", "j", job, "batch/v1"),
            "controller": True,
        }
        change = {
            "metadata": {"ownerReferences": [reference]},
            "spec": {"containers": [{"name": "main", "image": "nginx:1.26"}]},
        }
        control_plane.api.request("PATCH", path, change)
        columns = ("pod_uid", "workload_kind", "workload_name", "image_version")
        told.wait_for("pods", columns, (uid, "CronJob", "nightly", "1.26"))


def test_a_deleted_pods_address_ends_and_then_goes(control_plane, written):
    with collecting(control_plane.kubeconfig) as told:
        wait_until(told.windows, 20)
        uid = written.pod("web", "10.3.0.1")
        told.wait_for("addresses", ("owner_uid",), (uid,))
        written.delete_pod("web")

        def ends():
            rows = told.rows("addresses", "owner_uid", "until_ns")
            return [end for owner, end in rows if owner == uid]

        wait_until(lambda: any(ends()), 20)
        wait_until(lambda: not ends(), 20)
        assert (uid,) not in told.rows("pods", "pod_uid")


def test_an_api_server_that_is_started_again_is_followed(control_plane, written):
    uid = written.pod("old", "10.4.0.1")
    with collecting(control_plane.kubeconfig) as told:
        told.wait_for("pods", ("pod_uid",), (uid,))
        control_plane.api.kill()
        count = len(told.windows())
        wait_until(lambda: len(told.windows()) > count + 2, 20)
        assert told.status_of_last()["signal.kubernetes_api.answers"] == 0
        assert (uid,) in told.rows("pods", "pod_uid")
        control_plane.api.start()
        control_plane.api.wait_ready()
        new = written.pod("new", "10.4.0.2")
        told.wait_for("addresses", ("owner_uid", "until_ns"), (uid, 0), (new, 0))
        assert told.status_of_last()["signal.kubernetes_api.answers"] == 1
        assert len({header.incarnation for header in told.headers}) == 1


def test_a_watch_that_expired_loses_nothing(control_plane, written):
    kept = written.pod("kept", "10.5.0.1")
    gone = written.pod("gone", "10.5.0.2")
    with collecting(control_plane.kubeconfig) as told:
        told.wait_for("pods", ("pod_uid",), (kept,), (gone,))
        control_plane.api.kill()
        key = f"/registry/pods/{written.namespace}/gone".encode()
        control_plane.api._call_etcd(
            "kv/deleterange", {"key": base64.b64encode(key).decode()}
        )
        control_plane.api.compact()
        control_plane.api.start()
        control_plane.api.wait_ready()
        wait_until(lambda: (gone,) not in told.rows("pods", "pod_uid"), 30)
        new = written.pod("new", "10.5.0.3")
        told.wait_for("pods", ("pod_uid",), (kept,), (new,))
        assert told.status_of_last()["kubernetes.pods.expired"] >= 1


def lease(identity):
    options = LeaseOptions("default", identity, "collectors", 1.5)
    return replace(OPTIONS, lease=options)


def test_a_second_replica_takes_over_with_a_snapshot(control_plane, written):
    uid = written.pod("web", "10.6.0.1")
    with (
        collecting(control_plane.kubeconfig, lease("a")) as first,
        collecting(control_plane.kubeconfig, lease("b")) as second,
    ):
        wait_until(lambda: first.windows() or second.windows(), 20)
        leader, other = (first, second) if first.windows() else (second, first)
        leader.wait_for("pods", ("pod_uid",), (uid,))
        assert other.headers == []
        leader.stop()
        other.wait_for("pods", ("pod_uid",), (uid,))
        assert other.headers[0].kind is BatchKind.SNAPSHOT
        assert other.headers[0].collector == leader.headers[0].collector
        assert other.headers[0].incarnation != leader.headers[0].incarnation
        ended_ns = leader.windows()[-1].window_end_ns
        assert other.windows()[0].window_start_ns >= ended_ns
        assert leader.closed == 1


def grant(api, name, rules):
    path = "/apis/rbac.authorization.k8s.io/v1"
    body = {"metadata": {"name": name}, "rules": rules}
    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "ClusterRole", "name": name}
    user = {"apiGroup": group, "kind": "User", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [user]}
    api.request("POST", f"{path}/clusterroles", body)
    api.request("POST", f"{path}/clusterrolebindings", binding)


def test_a_missing_right_loses_one_table_until_it_is_granted(
    control_plane, written, caplog
):
    api = control_plane.api
    core = {
        "apiGroups": [""],
        "resources": ["pods", "namespaces", "nodes"],
        "verbs": ["get", "list", "watch"],
    }
    grant(api, "partly", [core])
    uid, service = written.pod("web", "10.7.0.1"), written.service("web")
    with collecting(api.write_kubeconfig("partly", "partly")) as told:
        told.wait_for("pods", ("pod_uid",), (uid,))
        wait_until(told.windows, 20)
        assert told.rows("services", "service_uid") == []
        status = told.status_of_last()
        assert status["signal.kubernetes_services.no_list"] == 0
        assert status["signal.kubernetes_pods.watch"] == 1
        messages = [
            record.getMessage()
            for record in caplog.records
            if record.levelno == logging.WARNING
        ]
        assert (
            "not allowed to list replicasets.apps: Deployments and rollouts of pods "
            "are not known; grant it, and it is noticed"
        ) in messages
        assert len(messages) == len(set(messages))
        grant_services(api)
        told.wait_for("services", ("service_uid",), (service,))


def grant_services(api):
    rule = {"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]}
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/partly"
    rules = api.request("GET", path)["rules"]
    api.request("PATCH", path, {"rules": [*rules, rule]})


def test_it_waits_for_an_api_server_that_is_away(caplog):
    with FakeApi([failed(503)] * 100) as fake:
        access = Access(fake.url)
        api = ApiServer(access, Credentials(access))
        told = Told()
        collector = KubernetesCollector(api, OPTIONS, SystemClock(), told.connect)
        thread = threading.Thread(target=collector.run)
        thread.start()
        fake.wait_for_requests(2)
        collector.stop()
        thread.join(10)
        assert not thread.is_alive()
        api.close()
    assert told.headers == []
    assert "it is not known yet which cluster it is: m" in caplog.text
