from tests.collectors.kubernetes.shapes import make_metadata, owner

from ebpf_net.collectors.kubernetes.objects import OwnerReference
from ebpf_net.collectors.kubernetes.owners import (
    Owner,
    Owners,
    controller_of,
    is_watched,
)


def replica_set(*reference):
    return make_metadata("web-1", "rs-1", ownerReferences=[owner(*reference)])


def test_a_replica_sets_owner_is_the_top():
    owners = Owners()
    assert owners.put(replica_set("Deployment", "web", "d"))
    assert owners.top(Owner("ReplicaSet", "web-1", "rs-1")) == (
        *("Deployment", "web", "d"),
    )


def test_a_rollout_is_an_owner_as_any():
    owners = Owners()
    owners.put(replica_set("Rollout", "web", "r", "argoproj.io/v1alpha1"))
    assert owners.top(Owner("ReplicaSet", "web-1", "rs-1")).kind == "Rollout"


def test_an_owner_that_is_not_known_is_the_top():
    job = Owner("Job", "j", "u")
    assert Owners().top(job) == job


def test_one_without_an_owner_is_the_top():
    owners = Owners()
    assert owners.put(make_metadata("web-1", "rs-1"))
    assert owners.knows("rs-1")
    assert owners.top(Owner("ReplicaSet", "web-1", "rs-1")).name == "web-1"


def test_the_same_again_changes_nothing():
    owners = Owners()
    web = replica_set("Deployment", "web", "d")
    assert [owners.put(web), owners.put(web)] == [True, False]


def test_a_circle_has_an_end():
    owners = Owners()
    owners.put(make_metadata("a", "a", ownerReferences=[owner("Job", "b", "b")]))
    owners.put(make_metadata("b", "b", ownerReferences=[owner("Job", "a", "a")]))
    assert owners.top(Owner("Job", "a", "a")).kind == "Job"


def test_the_controller_goes_before_other_owners():
    plain = {**owner("Certificate", "c", "c"), "controller": None}
    one = make_metadata("p", "p", ownerReferences=[plain, owner("Job", "j", "j")])
    assert controller_of(one).name == "j"
    one = make_metadata("p", "p", ownerReferences=[plain])
    assert controller_of(one).name == "c"
    assert controller_of(make_metadata("p", "p")) is None


def test_only_kinds_of_kubernetes_itself_are_watched():
    assert is_watched(OwnerReference("ReplicaSet", api_version="apps/v1"))
    assert is_watched(OwnerReference("Job", api_version="batch/v1"))
    assert not is_watched(OwnerReference("Job", api_version="batch.volcano.sh/v1"))
    assert not is_watched(OwnerReference("StatefulSet", api_version="apps/v1"))
