from collections import deque

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
from ebpf_net.collectors.object_labels import AllowList

_SETS = "Microsoft.Compute/virtualMachineScaleSets"
_INTERFACES = f"{_SETS}/networkInterfaces/read"
_MACHINES = f"{_SETS}/virtualMachines/read"


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
    return parts(pace, tags=AllowList(("team",)))["scale-sets"]


def _names(found):
    return sorted((one.name, texts(one)[0]) for one in found)


def test_machines_of_a_scale_set_are_named(subscription, part, pace):
    scale_set = subscription.scale_set("workers", tags={"team": "shop"})
    machine, _ = subscription.set_machine(scale_set, 4, "10.0.0.9", "2")
    (found,) = part.fetch(pace)
    assert found.interface_id == (
        "shop/virtualmachinescalesets/workers/virtualmachines/4/networkinterfaces/nic"
    )
    assert (found.name, found.role) == ("workers_4", "workers")
    assert found.instance_id == machine["properties"]["vmId"]
    assert found.instance_type == "Standard_D4s_v5"
    assert (found.zone, found.zone_id) == ("westeurope-2", "westeurope-az3")
    assert found.tags == '{"team":"shop"}'
    assert found.network.endswith("/virtualnetworks/net-1")


def test_node_pools_of_clusters_are_roles(subscription, part, pace):
    tags = {"aks-managed-cluster-name": "shop", "aks-managed-poolName": "system"}
    scale_set = subscription.scale_set("aks-system-1234-vmss", tags=tags)
    subscription.set_machine(scale_set, 0, "10.0.0.9")
    (found,) = part.fetch(pace)
    assert found.role == "shop/system"


def test_public_addresses_of_machines_are_told(world, subscription, part, pace):
    scale_set = subscription.scale_set("workers", has_public=True)
    _, nic = subscription.set_machine(scale_set, 0, "10.0.0.9")
    subscription.set_public(scale_set, nic, "20.0.0.9")
    (found,) = part.fetch(pace)
    assert texts(found) == ["10.0.0.9", "20.0.0.9*"]
    assert not world.calls("Microsoft.Network/publicIPAddresses/read")


def test_all_pages_of_all_sets_are_read(world, subscription, part, pace):
    world.page_size = 4
    for name in ("a", "b", "c", "d", "e"):
        scale_set = subscription.scale_set(name)
        for number in range(10):
            subscription.set_machine(scale_set, number, f"10.{ord(name)}.0.{number}")
    assert _names(part.fetch(pace)) == [
        (f"{name}_{number}", f"10.{ord(name)}.0.{number}")
        for name in "abcde"
        for number in range(10)
    ]
    assert world.calls(f"{_SETS}/read", _INTERFACES, _MACHINES) == {
        f"{_SETS}/read": 2,
        _INTERFACES: 15,
        _MACHINES: 15,
    }


def test_flexible_and_empty_sets_are_not_asked_for(world, subscription, part, pace):
    subscription.scale_set("flexible", "Flexible")
    subscription.scale_set("empty")["sku"]["capacity"] = 0
    assert list(part.fetch(pace)) == []
    assert not world.calls(_INTERFACES, _MACHINES)


def test_a_new_machine_has_a_name_before_it_is_listed(
    world, subscription, part, pace, monkeypatch
):
    scale_set = subscription.scale_set("workers")
    subscription.set_machine(scale_set, 0, "10.0.0.1")
    list(part.fetch(pace))
    machine, _ = subscription.set_machine(scale_set, 1, "10.0.0.2")
    *_, found = part.fetch(pace)
    assert (found.name, found.instance_id, found.zone) == ("workers_1", "", "")
    (kept,) = part._machines.values()
    monkeypatch.setattr(kept, "_made_at", kept._made_at - 61)
    *_, found = part.fetch(pace)
    assert found.instance_id == machine["properties"]["vmId"]


def test_without_machines_only_their_details_are_lost(world, subscription, part, pace):
    scale_set = subscription.scale_set("workers", zones=["1"])
    subscription.set_machine(scale_set, 0, "10.0.0.1")
    world.deny(_MACHINES)
    found = fetch(part, pace)["networkinterfaces/nic"]
    assert (found.name, found.zone) == ("workers_0", "westeurope-1")
    assert [one.missing_permission for one in pace.missing] == [_MACHINES]


def test_a_set_that_fails_does_not_hold_up_the_others(world, subscription, part, pace):
    for name in ("a", "b", "c"):
        subscription.set_machine(subscription.scale_set(name), 0, f"10.{ord(name)}.0.1")
    world.fail(Fault(500, action=_INTERFACES, where="/b/"))
    found = []
    with pytest.raises(PartFailed):
        deque(map(found.append, part.fetch(pace)), maxlen=0)
    assert [one.role for one in found] == ["a", "c"]


def test_a_set_that_went_a_moment_ago_is_no_failure(world, subscription, part, pace):
    for name in ("a", "b"):
        subscription.set_machine(subscription.scale_set(name), 0, f"10.{ord(name)}.0.1")
    list(part.fetch(pace))
    world.fail(Fault(404, "ResourceNotFound", action=_INTERFACES, where="/a/"))
    assert [one.role for one in part.fetch(pace)] == ["b"]


def test_what_has_gone_is_forgotten(subscription, part, pace):
    scale_set = subscription.scale_set("workers", has_public=True)
    subscription.set_machine(scale_set, 0, "10.0.0.1")
    list(part.fetch(pace))
    subscription.remove(scale_set)
    assert list(part.fetch(pace)) == []
    assert (part._machines, part._addresses) == ({}, {})


def test_without_scale_sets_it_says_what_is_missing(world, part, pace):
    world.deny(f"{_SETS}/read")
    with pytest.raises(PartFailed) as failed:
        list(part.fetch(pace))
    assert failed.value.missing_permission == f"{_SETS}/read"
