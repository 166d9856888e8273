import pytest
from tests.collectors.kubernetes.shapes import STARTED_NS, make_service, make_slice

from ebpf_net.collectors.kubernetes.service_rows import (
    Backend,
    Name,
    backends,
    endpoint_row,
    name_of_service,
    name_of_slice,
    service_address_rows,
    service_row,
)
from ebpf_net.collectors.object_labels import AllowList

DUAL = {"clusterIPs": ["10.96.0.10", "fd96::a"]}


def keys(service):
    return [key for key, _ in service_address_rows(service)]


def test_a_service_is_a_row():
    assert service_row(make_service(), AllowList()) == (
        *("svc-1", "web", "default", "ClusterIP", "{}"),
    )
    assert name_of_service(make_service()) == Name("default", "web")


def test_cluster_addresses_are_any_ports():
    rows = dict(service_address_rows(make_service(**DUAL)))
    assert list(rows) == ["svc-1/10.96.0.10", "svc-1/fd96::a"]
    assert rows["svc-1/10.96.0.10"][1:] == (
        *("service", "svc-1", 0, 0xFFFF0A60000A, STARTED_NS, 0, 0, 0),
    )


def test_a_headless_service_has_no_address():
    assert keys(make_service(clusterIP="None", clusterIPs=["None"])) == []


def test_an_external_name_has_no_address():
    service = make_service(
        type="ExternalName", clusterIP="", clusterIPs=None, ports=None
    )
    assert keys(service) == []


def test_addresses_from_outside_and_node_ports_have_their_port():
    ports = [
        {"port": 80, "nodePort": 30080, "protocol": "TCP"},
        {"port": 53, "nodePort": 30053, "protocol": "UDP"},
        {"port": 99, "nodePort": 30099, "protocol": "SCTP"},
    ]
    ingress = [{"ip": "198.51.100.1"}, {"hostname": "lb.example"}]
    service = make_service(
        type="LoadBalancer",
        ports=ports,
        externalIPs=["198.51.100.2"],
        status={"loadBalancer": {"ingress": ingress}},
    )
    rows = dict(service_address_rows(service))
    assert list(rows) == [
        "svc-1/10.96.0.10",
        "svc-1/198.51.100.2/80/6",
        "svc-1/198.51.100.2/53/17",
        "svc-1/198.51.100.1/80/6",
        "svc-1/198.51.100.1/53/17",
        "svc-1/*/30080/6",
        "svc-1/*/30053/17",
    ]
    assert [row[1] for row in rows.values()] == [
        "service",
        *["load_balancer"] * 4,
        *["node_port"] * 2,
    ]


def test_a_slice_names_its_service():
    assert name_of_slice(make_slice()) == Name("default", "web")
    other = make_slice()
    other.metadata.labels = None
    assert name_of_slice(other) is None


def test_backends_are_each_address_with_each_port():
    ports = [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    pods = [("10.1.0.1", "p1"), ("192.0.2.7", "")]
    assert backends(make_slice(ports=ports, pods=pods)) == (
        Backend("10.1.0.1", 80, 6, "p1"),
        Backend("10.1.0.1", 53, 17, "p1"),
        Backend("192.0.2.7", 80, 6, ""),
        Backend("192.0.2.7", 53, 17, ""),
    )


@pytest.mark.parametrize("ports", [None, [], [{"port": None, "protocol": "TCP"}]])
def test_no_ports_are_any_port(ports):
    assert backends(make_slice(ports=ports)) == (Backend("10.1.0.1", 0, 0, "pod-1"),)


def test_ports_that_are_not_counted_and_names_are_left_out():
    assert backends(make_slice(ports=[{"port": 9, "protocol": "SCTP"}])) == ()
    assert backends(make_slice(address_type="FQDN")) == ()


def test_an_endpoint_is_a_row():
    key, row = endpoint_row("svc-1", Backend("10.1.0.1", 80, 6, "p1"))
    assert row == (key, "svc-1", "p1", 0, 0xFFFF0A010001, 80, 6)
    assert endpoint_row("svc-1", Backend("web.example", 80, 6, "")) is None
