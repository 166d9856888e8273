"""The typed clients of the SDK read from the fake what was put into it."""

import pytest
from azure.identity import DefaultAzureCredential
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resource.subscriptions import SubscriptionClient

from tests.world.azure_api import azure_world
from tests.world.azure_resources import AzureSubscription


@pytest.fixture
def world(tmp_path, monkeypatch):
    with azure_world(tmp_path) as world:
        for name, value in world.environment.items():
            monkeypatch.setenv(name, value)
        yield world


@pytest.fixture
def options(world):
    return {
        "credential": DefaultAzureCredential(
            disable_instance_discovery=True, exclude_managed_identity_credential=True
        ),
        "base_url": world.url,
        "credential_scopes": [f"{world.url}/.default"],
    }


def test_networks_have_the_published_shape(world, options):
    world.page_size = 2
    subscription = AzureSubscription(world)
    for number in range(5):
        machine = subscription.machine(f"vm-{number}")
        public = subscription.public(f"pub-{number}", f"20.0.0.{number}")
        subscription.interface(
            f"nic-{number}", f"10.0.0.{number}", machine=machine, public=public
        )
    subscription.load_balancer("lb", {"privateIPAddress": "10.0.1.4"}, zones=["1"])
    subscription.endpoint("sql", "10.0.0.9", "/x/providers/Microsoft.Sql/s/db", "s")
    client = NetworkManagementClient(
        subscription_id=subscription.id, api_version="2024-05-01", **options
    )
    addresses = {
        configuration.private_ip_address: configuration.public_ip_address.id
        for one in client.network_interfaces.list_all(api_version="2024-05-01")
        for configuration in one.ip_configurations
        if one.virtual_machine
    }
    assert sorted(addresses) == [f"10.0.0.{number}" for number in range(5)]
    public_addresses = client.public_ip_addresses.list_all(api_version="2024-05-01")
    assert {one.id: one.ip_address for one in public_addresses} == {
        addresses[f"10.0.0.{number}"]: f"20.0.0.{number}" for number in range(5)
    }
    (balancer,) = client.load_balancers.list_all(api_version="2024-05-01")
    (front,) = balancer.frontend_ip_configurations
    assert front.private_ip_address == "10.0.1.4"
    (endpoint,) = client.private_endpoints.list_by_subscription(
        api_version="2024-05-01"
    )
    (connection,) = endpoint.private_link_service_connections
    assert connection.group_ids == ["s"]


def test_machines_have_the_published_shape(world, options):
    subscription = AzureSubscription(world)
    vm = subscription.machine("vm", "2")
    scale_set = subscription.scale_set("workers", has_public=True)
    member, nic = subscription.set_machine(scale_set, 3, "10.0.0.7")
    subscription.set_public(scale_set, nic, "20.0.0.7")
    compute = ComputeManagementClient(
        subscription_id=subscription.id, api_version="2024-07-01", **options
    )
    (machine,) = compute.virtual_machines.list_all(api_version="2024-07-01")
    assert (machine.vm_id, machine.zones) == (vm["properties"]["vmId"], ["2"])
    (found,) = compute.virtual_machine_scale_sets.list_all(api_version="2024-07-01")
    assert (found.name, found.orchestration_mode) == ("workers", "Uniform")
    (inner,) = compute.virtual_machine_scale_set_vms.list(
        "Shop", "workers", api_version="2024-07-01"
    )
    assert (inner.vm_id, inner.instance_id) == (member["properties"]["vmId"], "3")
    network = NetworkManagementClient(subscription_id=subscription.id, **options)
    interfaces = network.network_interfaces
    (card,) = interfaces.list_virtual_machine_scale_set_network_interfaces(
        "Shop", "workers"
    )
    assert card.ip_configurations[0].private_ip_address == "10.0.0.7"
    addresses = network.public_ip_addresses
    (public,) = addresses.list_virtual_machine_scale_set_public_ip_addresses(
        "Shop", "workers"
    )
    assert public.ip_address == "20.0.0.7"
    assert card.ip_configurations[0].public_ip_address.id == public.id


def test_subscriptions_have_the_published_shape(world, options):
    subscription = AzureSubscription(world)
    client = SubscriptionClient(**options)
    (found,) = client.subscriptions.list()
    assert (found.subscription_id, found.display_name) == (
        subscription.id,
        "Subscription 1",
    )
    (location,) = client.subscriptions.list_locations(subscription.id)
    assert location.availability_zone_mappings[0].physical_zone == "westeurope-az2"
