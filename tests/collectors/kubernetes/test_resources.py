import msgspec
import pytest

from ebpf_net.collectors.kubernetes.resources import RESOURCES


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: one.name)
def test_each_resource_is_decoded(resource):
    raw = msgspec.Raw(b'{"metadata":{"uid":"u"}}')
    assert resource.decode(raw).metadata.uid == "u"


def test_owners_are_listed_before_pods():
    names = [resource.name for resource in RESOURCES]
    assert names.index("replicasets") < names.index("pods")
    assert names.index("services") < names.index("endpointslices")


def test_of_owners_only_the_metadata_is_asked_for():
    partial = {one.name: one for one in RESOURCES if one.metadata_only}
    assert set(partial) == {"namespaces", "replicasets", "jobs"}
    jobs = partial["jobs"]
    assert "as=PartialObjectMetadataList;" in jobs.list_accept
    assert "as=PartialObjectMetadata;" in jobs.watch_accept
    assert jobs.full_name == "jobs.batch"
