import pytest
from tests.collectors.cloud.azure_parts import (
    azure_here,
    fetch,
    parts,
    quick_pace,
    texts,
)
from tests.world.azure_api import Fault
from tests.world.azure_resources import AzureSubscription

from ebpf_net.collectors.cloud.providers import PartFailed
from ebpf_net.collectors.cloud.records import Kind

_PUBLIC = "Microsoft.Network/publicIPAddresses/read"


@pytest.fixture
def world(tmp_path, monkeypatch):
    with azure_here(tmp_path, monkeypatch) as world:
        yield world


@pytest.fixture
def pace():
    return quick_pace()


@pytest.fixture
def subscription(world):
    return AzureSubscription(world)


@pytest.fixture
def found(subscription, pace):
    return parts(pace)


def test_each_front_end_of_a_load_balancer_is_told(subscription, found, pace):
    public = subscription.public("pub", "20.1.1.1")
    prefix = subscription.prefix("pre", "20.9.0.0/28")
    subscription.load_balancer(
        "shop",
        {"privateIPAddress": "10.0.1.4", "zones": ["2"]},
        {"publicIPAddress": {"id": public["id"]}, "zones": ["1", "2", "3"]},
        {"publicIPPrefix": {"id": prefix["id"]}},
    )
    fronts = fetch(found["load-balancers"], pace)
    assert {name: texts(one) for name, one in fronts.items()} == {
        "frontendipconfigurations/front-0": ["10.0.1.4"],
        "frontendipconfigurations/front-1": ["20.1.1.1*"],
        "frontendipconfigurations/front-2": ["20.9.0.0/28*"],
    }
    inner, outer, _ = fronts.values()
    assert {(one.kind, one.name, one.role) for one in fronts.values()} == {
        (Kind.LOAD_BALANCER, "shop", "shop")
    }
    assert inner.zone_id == "westeurope-az3"
    assert inner.subnet == "fronts"
    assert (outer.zone, outer.network) == ("", "")
    assert pace.missing == []


def test_load_balancers_of_clusters_have_their_names(subscription, found, pace):
    subscription.group = "MC_shop-rg_shop_westeurope"
    subscription.load_balancer("kubernetes", {"privateIPAddress": "10.0.1.4"})
    (front,) = fetch(found["load-balancers"], pace).values()
    assert (front.name, front.role) == ("kubernetes", "shop/kubernetes")


def test_application_gateways_are_load_balancers(subscription, found, pace):
    owner = subscription.resource_id("applicationGateways", "web")
    public = subscription.public("pub", "20.1.1.1")
    subscription.add(
        "applicationGateways",
        "web",
        {
            "gatewayIPConfigurations": [
                {"properties": {"subnet": {"id": subscription.subnet_id("gateways")}}}
            ],
            "frontendIPConfigurations": [
                subscription.front(owner, "in", privateIPAddress="10.0.1.5"),
                subscription.front(owner, "out", publicIPAddress={"id": public["id"]}),
            ],
        },
        zones=["1"],
    )
    inner, outer = fetch(found["application-gateways"], pace).values()
    assert (texts(inner), texts(outer)) == (["10.0.1.5"], ["20.1.1.1*"])
    assert (
        inner.network
        == outer.network
        == (
            f"/subscriptions/{subscription.id}/resourcegroups/shop/providers/"
            "microsoft.network/virtualnetworks/net-1"
        )
    )
    assert {(one.kind, one.role, one.zone) for one in (inner, outer)} == {
        (Kind.LOAD_BALANCER, "web", "westeurope-1")
    }


def test_nat_gateways_have_addresses_and_ranges(subscription, found, pace):
    one, six = subscription.public("a", "20.1.1.1"), subscription.public("b", "2603::1")
    prefix = subscription.prefix("pre", "20.9.0.0/28")
    subscription.add(
        "natGateways",
        "way-out",
        {
            "publicIpAddresses": [{"id": one["id"]}],
            "publicIpAddressesV6": [{"id": six["id"]}],
            "publicIpPrefixes": [{"id": prefix["id"]}],
            "subnets": [{"id": subscription.subnet_id()}],
        },
        zones=["3"],
    )
    (gateway,) = fetch(found["nat-gateways"], pace).values()
    assert texts(gateway) == ["20.1.1.1*", "2603::1*", "20.9.0.0/28*"]
    assert (gateway.kind, gateway.name) == (Kind.NAT_GATEWAY, "way-out")
    assert gateway.zone_id == "westeurope-az1"
    assert gateway.network.endswith("/virtualnetworks/net-1")


def test_other_public_addresses_are_those_of_what_is_not_listed(
    subscription, found, pace
):
    def owner(kind, name, inner="ipConfigurations"):
        return f"{subscription.resource_id(kind, name)}/{inner}/default"

    subscription.public("p1", "20.1.1.1", owner("virtualNetworkGateways", "vpn"))
    subscription.public(
        "p2",
        "20.1.1.2",
        owner("azureFirewalls", "wall", "azureFirewallIpConfigurations"),
    )
    subscription.public("p3", "20.1.1.3", owner("somethingNew", "new"))
    subscription.public("of-nic", "20.1.1.4", owner("networkInterfaces", "nic"))
    subscription.public("of-balancer", "20.1.1.5", owner("loadBalancers", "lb"))
    subscription.public("of-nobody", "20.1.1.6")
    nat = subscription.public("of-nat", "20.1.1.7")
    nat["properties"]["natGateway"] = {"id": "/x"}
    others = fetch(found["public-addresses"], pace)
    assert {(one.name, one.kind, *texts(one)) for one in others.values()} == {
        ("vpn", Kind.GATEWAY, "20.1.1.1*"),
        ("wall", Kind.GATEWAY, "20.1.1.2*"),
        ("new", Kind.OTHER, "20.1.1.3*"),
    }


def test_public_addresses_are_listed_once_for_all_parts(
    world, subscription, found, pace
):
    public = subscription.public("pub", "20.1.1.1")
    subscription.load_balancer("lb", {"publicIPAddress": {"id": public["id"]}})
    subscription.interface(
        "nic", "10.0.0.4", public=subscription.public("other", "20.1.1.2")
    )
    for part in found.values():
        fetch(part, pace)
    assert world.calls(_PUBLIC) == {_PUBLIC: 1}


def test_a_new_public_address_is_looked_for(
    world, subscription, found, pace, monkeypatch
):
    part = found["load-balancers"]
    kept = part._subscription.public_addresses
    fetch(found["public-addresses"], pace)
    public = subscription.public("pub", "20.1.1.1")
    subscription.load_balancer("lb", {"publicIPAddress": {"id": public["id"]}})
    monkeypatch.setattr(kept, "_made_at", kept._made_at - 6)
    (front,) = fetch(part, pace).values()
    assert texts(front) == ["20.1.1.1*"]
    assert world.calls(_PUBLIC) == {_PUBLIC: 2}


@pytest.mark.parametrize("fault", [Fault(403), Fault(500)])
def test_other_public_addresses_need_their_listing(world, found, pace, fault):
    fault.action = _PUBLIC
    world.fail(fault)
    with pytest.raises(PartFailed):
        fetch(found["public-addresses"], pace)


def test_without_public_addresses_front_ends_have_their_private_ones(
    world, subscription, found, pace
):
    subscription.load_balancer(
        "lb", {"privateIPAddress": "10.0.1.4"}, {"publicIPAddress": {"id": "/x/y"}}
    )
    world.deny(_PUBLIC)
    fronts = fetch(found["load-balancers"], pace).values()
    assert [texts(one) for one in fronts] == [["10.0.1.4"], []]
    assert {one.missing_permission for one in pace.missing} == {_PUBLIC}


def test_without_zones_their_ids_are_lost(world, subscription, found, pace):
    world.deny("Microsoft.Resources/subscriptions/locations/read")
    subscription.load_balancer("lb", {"privateIPAddress": "10.0.1.4", "zones": ["2"]})
    (front,) = fetch(found["load-balancers"], pace).values()
    assert (front.zone, front.zone_id) == ("westeurope-2", "")
    assert [one.missing_permission for one in pace.missing] == [
        "Microsoft.Resources/subscriptions/locations/read"
    ]
