import pytest

from ebpf_net.collectors.cloud.gcp_rules import (
    read_address,
    read_forwarding_rules,
    read_router,
)
from ebpf_net.collectors.cloud.records import Kind, address_range
from ebpf_net.collectors.object_labels import AllowList

_BASE = "https://www.googleapis.com/compute/v1/projects/shop"
_REGION = f"{_BASE}/regions/us-central1"
_NETWORK = f"{_BASE}/global/networks/default"
_NONE = AllowList()


def _rule(name, address, created="2026-01-01T00:00:00.000-08:00", **more):
    facts = {"name": name, "IPAddress": address, "creationTimestamp": created}
    return "us-central1", facts | more


def _read(*rules):
    return list(read_forwarding_rules(rules, _NONE))


def test_rules_with_one_address_are_one_by_the_name_of_the_oldest():
    rules = (
        _rule("a-https", "34.9.9.9", "2026-01-01T12:00:00.000-08:00"),
        _rule("z-http", "34.9.9.9", "2026-01-01T19:00:00.000+00:00"),
    )
    for order in (rules, rules[::-1]):
        (found,) = _read(*order)
        assert found.name == "z-http"


def test_equal_addresses_of_several_networks_are_several():
    other = _NETWORK.replace("default", "other")
    found = _read(
        _rule("a", "10.0.0.9", loadBalancingScheme="INTERNAL", network=_NETWORK),
        _rule("b", "10.0.0.9", loadBalancingScheme="INTERNAL", network=other),
    )
    assert [one.network for one in found] == ["shop/default", "shop/other"]


@pytest.mark.parametrize(
    ("more", "kind", "role"),
    [
        ({"backendService": f"{_REGION}/backendServices/w"}, Kind.LOAD_BALANCER, "w"),
        ({"target": f"{_REGION}/targetPools/pool"}, Kind.LOAD_BALANCER, "pool"),
        (
            {"target": f"{_BASE}/global/targetHttpProxies/p"},
            Kind.LOAD_BALANCER,
            "rule",
        ),
        (
            {
                "target": f"{_REGION}/targetPools/x",
                "description": '{"kubernetes.io/service-name":"shop/front"}',
            },
            Kind.LOAD_BALANCER,
            "shop/front",
        ),
        ({"target": f"{_REGION}/targetVpnGateways/vpn"}, Kind.GATEWAY, "vpn"),
        (
            {"target": f"{_REGION}/serviceAttachments/orders-db"},
            Kind.VPC_ENDPOINT,
            "orders-db",
        ),
        ({"target": "all-apis"}, Kind.VPC_ENDPOINT, "google-apis"),
        ({"pscConnectionId": "5"}, Kind.VPC_ENDPOINT, "rule"),
    ],
)
def test_a_rule_is_what_it_leads_to(more, kind, role):
    (found,) = _read(_rule("rule", "10.0.0.9", **more))
    assert (found.kind, found.role, found.name) == (kind, role, "rule")


@pytest.mark.parametrize(
    ("scheme", "is_public"),
    [
        ("EXTERNAL", True),
        ("EXTERNAL_MANAGED", True),
        ("INTERNAL", False),
        ("INTERNAL_MANAGED", False),
        ("", False),
    ],
)
def test_the_scheme_says_whether_an_address_is_public(scheme, is_public):
    (found,) = _read(_rule("r", "203.0.113.9", loadBalancingScheme=scheme))
    assert found.addresses == (address_range("203.0.113.9", is_public=is_public),)


def test_addresses_that_are_none_name_nobody():
    scheme = {"loadBalancingScheme": "INTERNAL_SELF_MANAGED"}
    assert _read(_rule("mesh", "0.0.0.0", **scheme), _rule("new", "")) == []


def test_a_rule_may_have_a_range():
    (found,) = _read(
        _rule("r", "2600:1901:0:1::/96", loadBalancingScheme="EXTERNAL", ipVersion="6")
    )
    assert found.addresses == (address_range("2600:1901:0:1::/96", is_public=True),)


def _address(routers=None, **more):
    item = {"name": "a1", "address": "34.4.4.4", "addressType": "EXTERNAL", **more}
    return read_address(item, "us-central1", routers or {}, _NONE)


def _router(*nats):
    item = {"network": _NETWORK, "nats": list(nats)}
    return {("us-central1", "edge"): read_router(item)}


def test_an_address_of_several_gateways_belongs_to_the_one_that_names_it():
    routers = _router(
        {"name": "auto"}, {"name": "fixed", "natIps": [f"{_REGION}/addresses/a1"]}
    )
    users = [f"{_REGION}/routers/edge"]
    assert _address(routers, users=users).name == "fixed"
    assert _address(routers, name="other", users=users).name == "edge"


def test_an_address_that_a_gateway_drains_is_still_its_own():
    routers = _router(
        {"name": "new"}, {"name": "old", "drainNatIps": [f"{_REGION}/addresses/a1"]}
    )
    assert _address(routers, users=[f"{_REGION}/routers/edge"]).name == "old"


def test_a_gateway_nobody_names_is_one():
    found = _address(purpose="NAT_AUTO")
    assert (found.kind, found.name) == (Kind.NAT_GATEWAY, "cloud-nat")


@pytest.mark.parametrize(
    ("purpose", "kind", "role"),
    [
        ("DNS_RESOLVER", Kind.OTHER, "dns"),
        ("IPSEC_INTERCONNECT", Kind.GATEWAY, "interconnect"),
        ("SERVERLESS", Kind.FUNCTION, "serverless"),
        ("VPC_PEERING", Kind.OTHER, "a1"),
    ],
)
def test_purposes_say_what_nothing_else_says(purpose, kind, role):
    found = _address(
        purpose=purpose, address="10.60.0.0", prefixLength=16, addressType="INTERNAL"
    )
    assert (found.kind, found.role, found.name) == (kind, role, "a1")
    assert found.addresses == (address_range("10.60.0.0/16", is_public=False),)


@pytest.mark.parametrize(
    "purpose",
    ["GCE_ENDPOINT", "SHARED_LOADBALANCER_VIP", "PRIVATE_SERVICE_CONNECT", ""],
)
def test_what_others_tell_of_is_left_to_them(purpose):
    assert _address(purpose=purpose) is None
