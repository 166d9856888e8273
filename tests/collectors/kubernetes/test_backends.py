from tests.collectors.kubernetes.shapes import make_slice

from ebpf_net.collectors.kubernetes.backends import Backends
from ebpf_net.collectors.kubernetes.service_rows import Name
from ebpf_net.collectors.reference_rows import ReferenceRows

WEB = Name("default", "web")


class Table:
    def __init__(self):
        self.rows = ReferenceRows("kubernetes_endpoints")
        self.backends = Backends(self.rows)

    def keys(self):
        self.backends.settle()
        return sorted(str(row[0]) for row in self.rows.values())


def test_slices_wait_for_their_service():
    table = Table()
    table.backends.put_slice(make_slice())
    assert table.keys() == []
    table.backends.put_service(WEB, "svc-1")
    assert table.keys() == ["svc-1/10.1.0.1/8080/6"]


def test_a_backend_in_two_slices_is_one():
    table = Table()
    table.backends.put_service(WEB, "svc-1")
    table.backends.put_slice(make_slice(uid="a"))
    table.backends.put_slice(make_slice(uid="b"))
    assert table.keys() == ["svc-1/10.1.0.1/8080/6"]
    table.backends.remove_slice("a")
    assert table.keys() == ["svc-1/10.1.0.1/8080/6"]
    table.backends.remove_slice("b")
    assert table.keys() == []


def test_a_slice_is_replaced_as_a_whole():
    table = Table()
    table.backends.put_service(WEB, "svc-1")
    table.backends.put_slice(make_slice())
    table.keys()
    table.backends.put_slice(make_slice(pods=[("10.1.0.2", "pod-2")]))
    assert table.keys() == ["svc-1/10.1.0.2/8080/6"]


def test_a_slice_may_change_its_service():
    table = Table()
    table.backends.put_service(WEB, "svc-1")
    table.backends.put_service(Name("default", "api"), "svc-2")
    table.backends.put_slice(make_slice())
    table.keys()
    table.backends.put_slice(make_slice("api"))
    assert table.keys() == ["svc-2/10.1.0.1/8080/6"]


def test_a_service_takes_its_backends_along():
    table = Table()
    table.backends.put_service(WEB, "svc-1")
    table.backends.put_slice(make_slice())
    table.keys()
    table.backends.remove_service(WEB, "svc-1")
    assert table.keys() == []


def test_a_service_made_anew_has_the_slices_of_its_name():
    table = Table()
    table.backends.put_service(WEB, "svc-1")
    table.backends.put_slice(make_slice())
    table.keys()
    table.backends.put_service(WEB, "svc-2")
    table.backends.remove_service(WEB, "svc-1")
    assert table.keys() == ["svc-2/10.1.0.1/8080/6"]


def test_a_slice_without_a_service_is_nobodys():
    table = Table()
    table.backends.put_service(WEB, "svc-1")
    table.backends.put_slice(make_slice())
    table.keys()
    orphan = make_slice()
    orphan.metadata.labels = {}
    table.backends.put_slice(orphan)
    table.backends.remove_slice("unknown")
    assert table.keys() == []
    assert table.backends.slices() == set()
