import os

import pytest
from tests.collectors.cloud.azure_parts import azure_here, quick_pace
from tests.world.azure_resources import AzureSubscription

from ebpf_net.collectors.cloud.azure_session import AzureSession
from ebpf_net.collectors.cloud.azure_subscription import (
    Subscription,
    SubscriptionLookup,
)
from ebpf_net.collectors.cloud.providers import PartFailed, ProviderOptions
from ebpf_net.collectors.object_labels import AllowList

_PUBLIC = "Microsoft.Network/publicIPAddresses/read"
_PREFIXES = "Microsoft.Network/publicIPPrefixes/read"


@pytest.fixture
def world(tmp_path, monkeypatch):
    with azure_here(tmp_path, monkeypatch) as world:
        yield world


@pytest.fixture
def pace():
    return quick_pace()


@pytest.fixture
def there(world):
    return AzureSubscription(world)


@pytest.fixture
def subscription(world, there):
    session = AzureSession(ProviderOptions(environment=dict(os.environ)))
    return Subscription(there.id, session, AllowList())


@pytest.fixture
def lookup(subscription, pace):
    return SubscriptionLookup(subscription, pace)


def test_nothing_is_listed_that_nobody_looks_up(world, lookup):
    assert (lookup.public_address(""), lookup.public_prefix("")) == ("", "")
    assert not world.calls()


def test_ids_lead_to_addresses_in_all_spellings(world, there, lookup):
    public, prefix = there.public("p", "20.0.0.1"), there.prefix("pre", "20.9.0.0/28")
    for _ in range(2):
        assert lookup.public_address(public["id"].upper()) == "20.0.0.1"
        assert lookup.public_prefix(prefix["id"].lower()) == "20.9.0.0/28"
    assert world.calls() == {_PUBLIC: 1, _PREFIXES: 1}


def test_what_is_unknown_is_looked_for_once(world, subscription, there, pace):
    SubscriptionLookup(subscription, pace).public_address("/x")
    for kept in (subscription.public_addresses, subscription.prefixes):
        kept._made_at -= 6
    public, prefix = there.public("p", "20.0.0.1"), there.prefix("pre", "20.9.0.0/28")
    lookup = SubscriptionLookup(subscription, pace)
    for _ in range(3):
        assert lookup.public_address(public["id"]) == "20.0.0.1"
        assert lookup.public_address("/y") == ""
        assert lookup.public_prefix(prefix["id"]) == "20.9.0.0/28"
        assert lookup.public_prefix("/y") == ""
    assert world.calls() == {_PUBLIC: 2, _PREFIXES: 1}


def test_own_addresses_come_first(world, lookup):
    lookup.add_addresses({"g/publicipaddresses/p": "20.0.0.9"})
    name = "/subscriptions/s/resourceGroups/G/providers/Microsoft.Network/"
    assert lookup.public_address(f"{name}publicIPAddresses/P") == "20.0.0.9"
    assert not world.calls()


def test_zones_are_those_of_the_subscription(world, there, lookup, pace):
    assert lookup.zone_id("westeurope", "1") == "westeurope-az2"
    assert lookup.zone_id("westeurope", "9") == ""
    assert lookup.zone_id("elsewhere", "1") == ""
    assert pace.missing == []


def test_resources_come_page_by_page(world, there, subscription, pace):
    world.page_size = 2
    for number in range(5):
        there.public(f"p{number}", f"20.0.0.{number}")
    pages = subscription.pages(pace, "Microsoft.Network/publicIPAddresses")
    assert [len(page) for page in pages] == [2, 2, 1]


def test_a_subscription_that_is_not_there_says_so(world, there, subscription, pace):
    world.listings["/subscriptions"].clear()
    with pytest.raises(PartFailed, match="NotFound"):
        list(subscription.pages(pace, "Microsoft.Network/loadBalancers"))
