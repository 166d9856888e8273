from tests.collectors.kubernetes.shapes import SECOND_NS, STARTED_NS, make_pod

from ebpf_net.collectors.kubernetes.owners import Owner
from ebpf_net.collectors.kubernetes.pod_rows import (
    Allowed,
    container_rows,
    finished_ns,
    has_finished,
    owner_of_row,
    pod_address_rows,
    pod_row,
    with_owner,
)
from ebpf_net.collectors.object_labels import AllowList

WEB = Owner("Deployment", "web", "d")
NOTHING = Allowed(AllowList(), AllowList())


def test_a_pod_is_a_row():
    assert pod_row(make_pod(), WEB, NOTHING) == (
        *("pod-1", "web-1-a", "default", "node-1", "Running"),
        *("Deployment", "web", "d", "1.25", "{}", "{}", False),
    )


def test_versions_are_distinct_and_sorted():
    containers = [
        {"name": name, "image": image}
        for name, image in [("a", "x:2"), ("b", "y:10"), ("c", "z:2"), ("d", "w@")]
    ]
    pod = make_pod(spec={"containers": containers})
    assert pod_row(pod, WEB, NOTHING)[8] == "10,2,latest"


def test_allowed_labels_and_annotations_are_told():
    pod = make_pod(meta={"labels": {"app": "web"}, "annotations": {"a": "b"}})
    row = pod_row(pod, WEB, Allowed(AllowList(("app",)), AllowList(("a",))))
    assert row[9:11] == ('{"app":"web"}', '{"a":"b"}')


def test_an_owner_can_be_put_in_later():
    row = pod_row(make_pod(), WEB, NOTHING)
    job = Owner("Job", "j", "u")
    assert owner_of_row(with_owner(row, job)) == job
    assert with_owner(with_owner(row, job), WEB) == row


def test_containers_of_every_kind_are_rows():
    pod = make_pod(
        spec={
            "initContainers": [{"name": "init", "image": "busybox"}],
            "ephemeralContainers": [{"name": "debug", "image": "alpine:3"}],
        },
        status={
            "initContainerStatuses": [{"name": "init", "containerID": "cri-o://b"}],
            "ephemeralContainerStatuses": None,
        },
    )
    assert [row for _, row in container_rows(pod)] == [
        ("pod-1/main", "pod-1", "main", "container", "a" * 64, "nginx", "1.25"),
        ("pod-1/init", "pod-1", "init", "init", "b", "busybox", "latest"),
        ("pod-1/debug", "pod-1", "debug", "ephemeral", "", "alpine", "3"),
    ]


def test_both_addresses_of_a_pod_are_rows():
    pod = make_pod(status={"podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}]})
    rows = dict(pod_address_rows(pod))
    assert list(rows) == ["pod-1/10.1.0.1", "pod-1/fd00::1"]
    assert rows["pod-1/10.1.0.1"][5] == STARTED_NS


def test_an_old_server_tells_one_address():
    pod = make_pod(status={"podIPs": None})
    assert [key for key, _ in pod_address_rows(pod)] == ["pod-1/10.1.0.1"]


def test_a_pod_without_an_address_has_no_row():
    assert list(pod_address_rows(make_pod(address=""))) == []


def test_a_pod_on_the_hosts_network_has_no_address():
    assert list(pod_address_rows(make_pod(spec={"hostNetwork": True}))) == []


def test_an_address_is_a_pods_since_its_sandbox():
    conditions = [
        {
            "type": "PodReadyToStartContainers",
            "status": "True",
            "lastTransitionTime": "2026-01-01T00:01:00Z",
        }
    ]
    rows = dict(pod_address_rows(make_pod(status={"conditions": conditions})))
    assert rows["pod-1/10.1.0.1"][5] == STARTED_NS + 59 * SECOND_NS


def ended(*times):
    statuses = [
        {"name": "c", "state": {"terminated": {"finishedAt": time}}} for time in times
    ]
    return make_pod(phase="Succeeded", status={"containerStatuses": statuses})


def test_a_pod_has_finished_when_its_last_container_has():
    pod = ended("2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z")
    assert has_finished(pod)
    assert finished_ns(pod) == STARTED_NS + 21 * SECOND_NS


def test_a_pod_whose_end_nobody_saw_has_no_time_of_it():
    assert finished_ns(ended("2026-01-01T00:00:10Z", None)) == 0
    assert finished_ns(make_pod(phase="Failed")) == 0
    assert not has_finished(make_pod())
