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


WHEN = ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z")


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize(
    "document",
    [
        '{"metadata":{"creationTimestamp":"WHEN"}}',
        '{"metadata":{},"status":{"startTime":"WHEN"}}',
        '{"metadata":{},"status":{"conditions":[{"lastTransitionTime":"WHEN"}]}}',
        (
            '{"metadata":{},"status":{"containerStatuses":'
            '[{"state":{"terminated":{"finishedAt":"WHEN"}}}]}}'
        ),
    ],
)
def test_a_time_that_no_row_has_room_for_is_undecodable(document, when):
    msgspec.json.decode(document.replace("WHEN", "1970-01-01T00:00:00Z"), type=Pod)
    with pytest.raises(msgspec.DecodeError, match="in the year"):
        msgspec.json.decode(document.replace("WHEN", when), type=Pod)


@pytest.mark.parametrize("port", [-1, 65_536, 2**40, 2**70])
@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ('{"metadata":{},"spec":{"ports":[{"port":%d}]}}', Service),
        ('{"metadata":{},"spec":{"ports":[{"nodePort":%d}]}}', Service),
        ('{"metadata":{},"ports":[{"port":%d}]}', EndpointSlice),
    ],
)
def test_a_port_that_is_none_is_undecodable(document, kind, port):
    msgspec.json.decode(document % 65_535, type=kind)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(document % port, type=kind)
