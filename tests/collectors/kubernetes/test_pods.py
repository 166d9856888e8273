from tests.collectors.kubernetes.shapes import make_metadata, make_pod, owner

from ebpf_net.collectors.kubernetes.pods import Pods
from ebpf_net.collectors.object_labels import AllowList
from ebpf_net.collectors.reference_rows import ReferenceRows


class Table:
    def __init__(self):
        self.rows = ReferenceRows("kubernetes_pods")
        self.containers = ReferenceRows("kubernetes_containers")
        self.pods = Pods(self.rows, self.containers, AllowList(), AllowList())

    def workload(self, uid="pod-1"):
        return self.rows.get(uid)[5:8]


def owned_pod(*reference, **more):
    return make_pod(meta={"ownerReferences": [owner(*reference)]}, **more)


REPLICA_SET = make_metadata(
    "web-1", "rs-1", ownerReferences=[owner("Deployment", "web", "d-1")]
)
OF_REPLICA_SET = ("ReplicaSet", "web-1", "rs-1")


def test_a_pod_alone_is_its_own_workload():
    table = Table()
    table.pods.put(make_pod())
    assert table.workload() == ("Pod", "web-1-a", "pod-1")


def test_a_pod_is_its_deployments():
    table = Table()
    table.pods.put_owner(REPLICA_SET)
    table.pods.put(owned_pod(*OF_REPLICA_SET))
    assert table.workload() == ("Deployment", "web", "d-1")
    assert table.pods.unresolved() == 0


def test_an_owner_that_comes_late_corrects_its_pods():
    table = Table()
    table.pods.put(owned_pod(*OF_REPLICA_SET))
    assert table.workload() == OF_REPLICA_SET
    assert table.pods.unresolved() == 1
    table.pods.put_owner(REPLICA_SET)
    assert table.workload() == ("Deployment", "web", "d-1")
    assert table.pods.unresolved() == 0


def test_an_owner_that_is_adopted_takes_its_pods_along():
    table = Table()
    table.pods.put_owner(make_metadata("web-1", "rs-1"))
    table.pods.put(owned_pod(*OF_REPLICA_SET))
    table.pods.put_owner(REPLICA_SET)
    assert table.workload() == ("Deployment", "web", "d-1")


def test_a_pod_that_outlives_its_replica_set_keeps_its_workload():
    table = Table()
    table.pods.put_owner(REPLICA_SET)
    table.pods.put(owned_pod(*OF_REPLICA_SET))
    table.pods.remove_owner("rs-1")
    table.pods.put(owned_pod(*OF_REPLICA_SET, phase="Failed"))
    assert table.workload() == ("Deployment", "web", "d-1")
    assert table.pods.unresolved() == 0


def test_a_pod_that_is_let_go_is_its_own():
    table = Table()
    table.pods.put(owned_pod(*OF_REPLICA_SET))
    table.pods.put(make_pod())
    assert table.workload() == ("Pod", "web-1-a", "pod-1")
    assert table.pods.unresolved() == 0


def test_kinds_that_are_not_watched_are_the_top():
    table = Table()
    for kind in ("StatefulSet", "DaemonSet", "Node", "CloneSet"):
        table.pods.put(owned_pod(kind, "n", "u"))
        assert table.workload() == (kind, "n", "u")
    assert table.pods.unresolved() == 0


def test_an_image_that_changes_is_told():
    table = Table()
    table.pods.put(make_pod())
    table.pods.put(
        make_pod(spec={"containers": [{"name": "main", "image": "nginx:2"}]})
    )
    assert table.rows.get("pod-1")[8] == "2"
    assert table.containers.get("pod-1/main")[6] == "2"


def test_all_rows_of_a_pod_go():
    table = Table()
    table.pods.put(owned_pod(*OF_REPLICA_SET))
    table.pods.remove("pod-1")
    assert (len(table.rows), len(table.containers)) == (0, 0)
    assert table.pods.unresolved() == 0
