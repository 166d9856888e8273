import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collectors.kubernetes.shapes import make_pod

from ebpf_net.collectors.kubernetes.objects import (
    EndpointSlice,
    Node,
    PartialObject,
    Pod,
    Service,
)

KINDS = (EndpointSlice, Node, PartialObject, Pod, Service)


def test_what_is_not_needed_is_skipped():
    pod = make_pod(spec={"volumes": [{"name": "v"}]})
    assert pod.metadata.name == "web-1-a"
    assert not hasattr(pod.spec, "volumes")


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_object_is_read(kind):
    assert msgspec.json.decode(b'{"metadata":{}}', type=kind).metadata.name == ""


@pytest.mark.parametrize(
    "document",
    [
        b'{"metadata":{"labels":null,"ownerReferences":null}}',
        b'{"metadata":{},"spec":{"containers":null,"hostNetwork":null}}',
        b'{"metadata":{},"status":{"podIPs":null,"containerStatuses":null}}',
        b'{"metadata":{"creationTimestamp":null},"status":{"startTime":null}}',
    ],
)
def test_null_is_an_empty_list(document):
    assert not msgspec.json.decode(document, type=Pod).spec.containers


@given(st.binary(max_size=40))
def test_random_bytes_raise_only_a_decode_error(data):
    for kind in KINDS:
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(data, type=kind)
