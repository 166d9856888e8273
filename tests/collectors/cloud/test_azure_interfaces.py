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
from ebpf_net.collectors.object_labels import AllowList

_MACHINES = "Microsoft.Compute/virtualMachines/read"
_INTERFACES = "Microsoft.Network/networkInterfaces/read"
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
def part(subscription, pace):
    return parts(pace, tags=AllowList(("team", "own")))["network-interfaces"]


def test_interfaces_have_what_their_machine_and_zone_say(subscription, part, pace):
    machine = subscription.machine("web-1", "3", tags={"team": "shop", "x": "y"})
    subscription.interface("nic", "10.0.0.4", machine=machine)
    found = fetch(part, pace)["networkinterfaces/nic"]
    assert found.interface_id == "shop/networkinterfaces/nic"
    assert found.kind is Kind.INSTANCE
    assert (found.name, found.role) == ("web-1", "")
    assert found.instance_id == machine["properties"]["vmId"]
    assert found.instance_type == "Standard_D2s_v3"
    assert (found.region, found.zone, found.zone_id) == (
        "westeurope",
        "westeurope-3",
        "westeurope-az1",
    )
    assert found.network == (
        f"/subscriptions/{subscription.id}/resourcegroups/shop/providers/"
        "microsoft.network/virtualnetworks/net-1"
    )
    assert found.subnet == "inner"
    assert found.tags == '{"team":"shop"}'
    assert pace.missing == []


def test_own_tags_come_before_those_of_the_machine(subscription, part, pace):
    machine = subscription.machine("web-1", tags={"team": "shop"})
    subscription.interface("nic", "10.0.0.4", machine=machine, tags={"own": "1"})
    assert fetch(part, pace)["networkinterfaces/nic"].tags == '{"own":"1"}'


def test_all_addresses_of_an_interface_are_told(subscription, part, pace):
    nic = subscription.interface(
        "nic",
        "10.0.0.4",
        "10.0.0.5",
        "fd00::5",
        public=subscription.public("p", "20.1.1.1"),
    )
    nic["properties"]["ipConfigurations"][1]["properties"].update(
        privateIPAddress="10.0.0.16", privateIPAddressPrefixLength=28
    )
    public = subscription.public("p6", "2603:1020::7")
    configuration = nic["properties"]["ipConfigurations"][2]
    configuration["properties"]["publicIPAddress"] = {"id": public["id"].upper()}
    found = fetch(part, pace)["networkinterfaces/nic"]
    assert texts(found) == [
        "10.0.0.4",
        "10.0.0.16/28",
        "fd00::5",
        "20.1.1.1*",
        "2603:1020::7*",
    ]


def test_pages_are_read_to_the_end(world, subscription, part, pace):
    world.page_size = 7
    for number in range(30):
        machine = subscription.machine(f"vm-{number}")
        subscription.interface(f"nic-{number}", f"10.0.0.{number}", machine=machine)
    found = fetch(part, pace)
    assert {one.name for one in found.values()} == {f"vm-{n}" for n in range(30)}
    assert world.calls(_INTERFACES, _MACHINES) == {_INTERFACES: 5, _MACHINES: 5}


def test_details_are_listed_now_and_then_only(world, subscription, part, pace):
    subscription.interface("nic", "10.0.0.4", machine=subscription.machine("vm"))
    world.forget_calls()
    for _ in range(3):
        fetch(part, pace)
    assert world.calls() == {
        _INTERFACES: 3,
        _MACHINES: 1,
        "Microsoft.Network/privateEndpoints/read": 1,
        "Microsoft.Resources/subscriptions/locations/read": 1,
    }


def test_only_new_machines_are_asked_for_in_between(world, subscription, part, pace):
    fetch(part, pace)
    machine = subscription.machine("new", "2")
    subscription.interface("nic", "10.0.0.4", machine=machine)
    for _ in range(2):
        found = fetch(part, pace)["networkinterfaces/nic"]
        assert (found.name, found.zone) == ("new", "westeurope-2")
    assert world.calls(_MACHINES) == {_MACHINES: 2}


def test_a_machine_that_went_a_moment_ago_has_its_name_left(
    world, subscription, part, pace
):
    machine = subscription.machine("gone")
    subscription.interface("nic", "10.0.0.4", machine=machine)
    subscription.remove(machine)
    for _ in range(2):
        found = fetch(part, pace)["networkinterfaces/nic"]
        assert (found.name, found.instance_id) == ("gone", "")
        assert pace.missing == []
    assert world.calls(_MACHINES) == {_MACHINES: 2}


def test_without_machines_only_their_details_are_lost(world, subscription, part, pace):
    machine = subscription.machine("vm")
    subscription.interface("nic", "10.0.0.4", machine=machine)
    world.deny(_MACHINES)
    for _ in range(2):
        found = fetch(part, pace)["networkinterfaces/nic"]
        assert (found.kind, found.name, found.zone) == (Kind.INSTANCE, "vm", "")
        assert [one.missing_permission for one in pace.missing] == [_MACHINES]
    assert world.calls(_MACHINES) == {_MACHINES: 1}


def test_public_addresses_that_cannot_be_listed_stay_what_they_were(
    world, subscription, part, pace, monkeypatch
):
    subscription.interface(
        "nic", "10.0.0.4", public=subscription.public("p", "20.1.1.1")
    )
    assert texts(fetch(part, pace)["networkinterfaces/nic"])[1:] == ["20.1.1.1*"]
    monkeypatch.setattr(part._subscription.public_addresses, "_seconds", 0.0)
    world.fail(Fault(503, action=_PUBLIC))
    assert texts(fetch(part, pace)["networkinterfaces/nic"])[1:] == ["20.1.1.1*"]
    assert len(pace.missing) == 1


def test_without_interfaces_there_is_nothing(world, part, pace):
    world.deny(_INTERFACES)
    with pytest.raises(PartFailed, match="not allowed") as failed:
        fetch(part, pace)
    assert failed.value.missing_permission == _INTERFACES


@pytest.mark.parametrize(
    ("service", "group", "kind"),
    [
        ("Microsoft.Sql/servers/orders", "sqlServer", Kind.DATABASE),
        (
            "Microsoft.DBforPostgreSQL/flexibleServers/orders",
            "postgresqlServer",
            Kind.DATABASE,
        ),
        ("Microsoft.DocumentDB/databaseAccounts/orders", "Sql", Kind.DATABASE),
        ("Microsoft.Cache/Redis/orders", "redisCache", Kind.CACHE),
        ("Microsoft.Storage/storageAccounts/orders", "file", Kind.FILE_SYSTEM),
        ("Microsoft.Storage/storageAccounts/orders", "blob", Kind.VPC_ENDPOINT),
        ("Microsoft.KeyVault/vaults/orders", "vault", Kind.VPC_ENDPOINT),
        (
            "Microsoft.ContainerService/managedClusters/orders",
            "management",
            Kind.KUBERNETES,
        ),
    ],
)
def test_private_endpoints_are_what_they_lead_to(
    subscription, part, pace, service, group, kind
):
    service_id = f"/subscriptions/x/resourceGroups/data/providers/{service}"
    subscription.endpoint("to-orders", "10.0.0.9", service_id, group)
    (found,) = fetch(part, pace).values()
    assert (found.kind, found.name, found.role) == (kind, "to-orders", "orders")
    assert texts(found) == ["10.0.0.9"]


def test_endpoints_have_names_without_their_listing(world, subscription, part, pace):
    subscription.endpoint(
        "to-orders", "10.0.0.9", "/x/providers/Microsoft.Sql/servers/orders", "s"
    )
    world.deny("Microsoft.Network/privateEndpoints/read")
    (found,) = fetch(part, pace).values()
    assert (found.kind, found.name, found.role) == (Kind.VPC_ENDPOINT, "to-orders", "")


def test_a_new_endpoint_is_listed_when_it_is_met(subscription, part, pace, monkeypatch):
    fetch(part, pace)
    monkeypatch.setattr(part._targets, "_made_at", -1000.0)
    subscription.endpoint(
        "to-orders", "10.0.0.9", "/x/providers/Microsoft.Sql/servers/orders", "s"
    )
    (found,) = fetch(part, pace).values()
    assert found.role == "orders"


def test_an_interface_of_nothing_has_its_own_name(subscription, part, pace):
    subscription.interface("spare", "10.0.0.4")
    service = {"id": subscription.resource_id("privateLinkServices", "shop-link")}
    subscription.interface("link.nic", "10.0.0.5", privateLinkService=service)
    found = fetch(part, pace)
    spare = found["networkinterfaces/spare"]
    assert (spare.kind, spare.name, spare.role) == (Kind.OTHER, "spare", "")
    link = found["networkinterfaces/link.nic"]
    assert (link.kind, link.role) == (Kind.GATEWAY, "shop-link")


def test_machines_of_flexible_scale_sets_have_its_name_for_a_role(
    subscription, part, pace
):
    scale_set = subscription.scale_set("workers", "Flexible")
    machine = subscription.machine("workers_1a2b", scale_set=scale_set)
    subscription.interface("nic", "10.0.0.4", machine=machine)
    (found,) = fetch(part, pace).values()
    assert (found.name, found.role) == ("workers_1a2b", "workers")


def test_many_new_machines_are_listed_at_once(
    world, subscription, part, pace, monkeypatch
):
    fetch(part, pace)
    monkeypatch.setattr(part._machines, "_made_at", -1000.0)
    monkeypatch.setattr(part._machines, "_seconds", 1e9)
    for number in range(30):
        machine = subscription.machine(f"vm-{number}")
        subscription.interface(f"nic-{number}", f"10.0.0.{number}", machine=machine)
    found = fetch(part, pace)
    assert {one.name for one in found.values()} == {f"vm-{n}" for n in range(30)}
    assert world.calls(_MACHINES) == {_MACHINES: 2}
