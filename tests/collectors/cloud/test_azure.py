import time
from pathlib import Path

import pytest
from tests.collectors.cloud.azure_parts import (
    azure_here,
    fetch,
    parts,
    provider,
    quick_pace,
)
from tests.collectors.cloud.told import materialize
from tests.world.azure_api import Fault
from tests.world.azure_resources import AzureSubscription, subscription_id
from tests.world.waiting import wait_until

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.cloud.azure import make_providers
from ebpf_net.collectors.cloud.inventory import Inventory
from ebpf_net.collectors.cloud.pace import PaceOptions
from ebpf_net.collectors.cloud.poller import Poller, PollerOptions
from ebpf_net.collectors.cloud.providers import (
    PartFailed,
    PartKey,
    ProviderOptions,
)
from ebpf_net.errors import SettingError

_QUICK = PollerOptions(
    interval_seconds=0.05,
    listing_seconds=0.2,
    pace=PaceOptions(first_wait_seconds=0.001),
)
_GUIDE = Path(__file__).parents[3] / "docs/guides/cloud-azure.md"
_PRODUCTS = [
    "network-interfaces",
    "scale-sets",
    "load-balancers",
    "application-gateways",
    "nat-gateways",
    "public-addresses",
]


@pytest.fixture
def world(tmp_path, monkeypatch):
    with azure_here(tmp_path, monkeypatch) as world:
        yield world


@pytest.fixture
def pace():
    return quick_pace()


class _Run:
    """A poller that runs, and the rows that it would tell."""

    def __init__(self, *scopes):
        self.inventory = Inventory(SystemClock(), 3600.0)
        self.poller = Poller([provider(*scopes)], self.inventory, _QUICK)

    def __enter__(self):
        self.poller.start()
        wait_until(self.poller.has_asked_all, 20)
        return self

    def __exit__(self, *_):
        self.poller.stop()
        self.poller.join(10)

    def rows(self, table):
        return materialize(self.inventory.snapshot()).get(f"cloud_{table}", [])

    def addresses(self):
        """Return who has which address now."""
        return sorted(
            (row["address_key"].rpartition(" ")[2], _name(row["interface_uid"]))
            for row in self.rows("addresses")
            if not row["until_ns"]
        )

    def spans(self, address):
        """Return who had an address from when until when, in order."""
        return sorted(
            (row["from_ns"], row["until_ns"], _name(row["interface_uid"]))
            for row in self.rows("addresses")
            if row["address_key"].endswith(f" {address}")
        )


def _name(uid):
    return uid.rpartition("/")[2]


def test_each_product_of_each_subscription_is_a_part(world, pace):
    for number in (2, 1):
        AzureSubscription(world, number)
    found = list(provider().parts(pace))
    assert [part.key for part in found] == [
        PartKey("azure", subscription_id(number), product)
        for number in (1, 2)
        for product in _PRODUCTS
    ]
    assert {part.account_name for part in found} == {"Subscription 1", "Subscription 2"}


def test_what_is_deleted_is_no_subscription(world, pace):
    AzureSubscription(world, 1)
    world.listings["/subscriptions"][0]["state"] = "Deleted"
    assert list(provider().parts(pace)) == []


def test_only_named_subscriptions_are_asked(world, pace):
    for number in (1, 2, 3):
        AzureSubscription(world, number)
    named = provider(subscription_id(2), subscription_id(2).upper())
    assert {part.key.account for part in named.parts(pace)} == {subscription_id(2)}


def test_named_subscriptions_need_not_be_listed(world, pace):
    AzureSubscription(world).interface("nic", "10.0.0.4")
    world.deny("Microsoft.Resources/subscriptions/read")
    found = parts(pace, subscription_id(1))
    assert [one.missing_permission for one in pace.missing] == [
        "Microsoft.Resources/subscriptions/read"
    ]
    assert len(fetch(found["network-interfaces"], pace)) == 1


def test_without_names_the_listing_must_be_had(world, pace):
    world.deny("Microsoft.Resources/subscriptions/read")
    with pytest.raises(PartFailed) as failed:
        list(provider().parts(pace))
    assert failed.value.missing_permission == "Microsoft.Resources/subscriptions/read"


def test_a_new_name_is_taken(world, pace):
    AzureSubscription(world)
    asked = provider()
    (part, *_) = asked.parts(pace)
    world.listings["/subscriptions"][0]["displayName"] = "Shop"
    list(asked.parts(pace))
    assert part.account_name == "Shop"


@pytest.mark.parametrize("text", ["", "shop", "00000000-0000-0000-0000-00000000000g"])
def test_what_is_no_subscription_is_an_error(text):
    with pytest.raises(SettingError, match="--azure-subscription"):
        make_providers(ProviderOptions(scopes=(text,)))


def test_nothing_is_asked_before_the_first_poll(world):
    provider()
    assert world.tokens_given == 0
    assert not world.calls()


def test_a_subscription_that_is_denied_loses_nothing_but_itself(world, caplog):
    for number in (1, 2):
        AzureSubscription(world, number).interface("nic", f"10.{number}.0.4")
    world.deny(subscription=subscription_id(1))
    with _Run() as run:
        assert run.addresses() == [("10.2.0.4", "nic")]
        status = run.poller.status()
        assert (status["cloud.parts"], status["cloud.failing"]) == (12, 6)
    assert f"azure/{subscription_id(1)}/network-interfaces: not allowed" in caplog.text
    assert "missing permission: Microsoft.Network/networkInterfaces/read" in caplog.text


def test_a_product_that_is_denied_loses_nothing_but_itself(world):
    subscription = AzureSubscription(world)
    subscription.interface("nic", "10.0.0.4")
    subscription.load_balancer("lb", {"privateIPAddress": "10.0.1.4"})
    with _Run() as run:
        both = [("10.0.0.4", "nic"), ("10.0.1.4", "front-0")]
        assert run.addresses() == both
        world.deny("Microsoft.Network/loadBalancers/read")
        subscription.interface("new", "10.0.0.5")
        wait_until(lambda: len(run.addresses()) == 3, 20)
        assert set(both) < set(run.addresses())


def test_a_region_of_errors_loses_nothing_and_returns(world):
    subscription = AzureSubscription(world)
    nic = subscription.interface("nic", "10.0.0.4")
    with _Run() as run:
        world.fail(Fault(500))
        wait_until(lambda: run.poller.status()["cloud.failing"] >= 6, 20)
        assert run.addresses() == [("10.0.0.4", "nic")]
        subscription.remove(nic)
        subscription.interface("other", "10.0.0.9")
        world.mend()
        wait_until(lambda: run.addresses() == [("10.0.0.9", "other")], 20)


def test_throttling_is_honoured(world):
    subscription = AzureSubscription(world)
    subscription.interface("nic", "10.0.0.4")
    fault = Fault(429, "TooManyRequests", headers={"Retry-After": "1"}, times=1)
    fault.action = "Microsoft.Network/networkInterfaces/read"
    world.fail(fault)
    started = time.monotonic()
    with _Run() as run:
        assert time.monotonic() - started >= 1
        assert run.addresses() == [("10.0.0.4", "nic")]
        assert run.poller.status()["cloud.calls_throttled"] == 1


def test_an_expired_token_is_replaced_within_the_call(world):
    AzureSubscription(world).interface("nic", "10.0.0.4")
    with _Run() as run:
        polls = run.poller.status()["cloud.polls"]
        tokens = world.tokens_given
        world.expire_tokens()
        wait_until(lambda: run.poller.status()["cloud.polls"] >= polls + 12, 20)
        assert run.addresses() == [("10.0.0.4", "nic")]
        assert run.poller.status()["cloud.failing"] == 0
        assert world.tokens_given > tokens


def test_an_address_that_moves_ends_where_it_began_anew(world):
    subscription = AzureSubscription(world)
    public = subscription.public("pub", "20.1.2.3")
    one = subscription.interface("one", "10.0.0.4", public=public)
    two = subscription.interface("two", "10.0.0.5")
    with _Run() as run:
        subscription.dissociate(one)
        subscription.associate(two, public)
        moved = [("10.0.0.4", "one"), ("10.0.0.5", "two"), ("20.1.2.3", "two")]
        wait_until(lambda: run.addresses() == moved, 20)
        (first, second) = run.spans("20.1.2.3")
        assert first[1] == second[0] > 0
        assert (first[2], second[1:]) == ("one", (0, "two"))


def test_an_interface_that_moves_has_the_other_machines_name(world):
    subscription = AzureSubscription(world)
    one, two = subscription.machine("one"), subscription.machine("two", "2")
    nic = subscription.interface("nic", "10.0.0.4", machine=one)
    with _Run() as run:
        (row,) = run.rows("interfaces")
        assert (row["name"], row["zone"]) == ("one", "westeurope-1")
        nic["properties"]["virtualMachine"] = {"id": two["id"]}
        wait_until(lambda: run.rows("interfaces")[0]["name"] == "two", 20)
        (row,) = run.rows("interfaces")
        assert row["instance_id"] == two["properties"]["vmId"]
        assert row["zone"] == "westeurope-2"
        assert len(run.spans("10.0.0.4")) == 1


def test_overlapping_networks_do_not_mix(world):
    for number in (1, 2):
        AzureSubscription(world, number).interface("nic", "10.0.0.4")
    with _Run() as run:
        rows = run.rows("addresses")
        assert len({row["network"] for row in rows}) == 2
        assert {row["address_key"].rpartition(" ")[2] for row in rows} == {"10.0.0.4"}
        for row in rows:
            assert row["network"] == row["network"].lower()
            assert row["network"].endswith(
                tuple(f"/virtualnetworks/net-{number}" for number in (1, 2))
            )


def test_two_thousand_interfaces_come_in_ten_seconds_each_once(world):
    subscription = AzureSubscription(world)
    for number in range(1000):
        machine = subscription.machine(f"vm-{number}", str(number % 3 + 1))
        for card in range(2):
            subscription.interface(
                f"nic-{number}-{card}",
                f"10.{card}.{number >> 8}.{number & 255}",
                machine=machine,
            )
    started = time.monotonic()
    with _Run() as run:
        assert time.monotonic() - started < 10
        assert len(run.rows("interfaces")) == 2000
        addresses = run.addresses()
    assert len(addresses) == len({address for address, _ in addresses}) == 2000
    assert len({row["instance_id"] for row in run.rows("interfaces")}) == 1000


def test_the_role_in_the_guide_is_enough(world, pace):
    guide = _GUIDE.read_text()
    actions = {
        line.strip(' ",').lower()
        for line in guide.partition('"Actions": [')[2].partition("]")[0].splitlines()
    }
    world.granted = actions - {""}
    subscription = AzureSubscription(world)
    subscription.endpoint(
        "sql", "10.0.0.9", "/x/providers/Microsoft.Sql/servers/db", "s"
    )
    machine = subscription.machine("vm")
    subscription.interface(
        "nic", "10.0.0.4", machine=machine, public=subscription.public("p", "20.0.0.4")
    )
    scale_set = subscription.scale_set("set", has_public=True)
    _, nic = subscription.set_machine(scale_set, 0, "10.0.0.5")
    subscription.set_public(scale_set, nic, "20.0.0.5")
    prefix = subscription.prefix("pre", "20.9.0.0/28")
    subscription.add("natGateways", "nat", {"publicIpPrefixes": [{"id": prefix["id"]}]})
    subscription.load_balancer("lb", {"privateIPAddress": "10.0.1.4"})
    subscription.add("applicationGateways", "web", {"frontendIPConfigurations": []})
    for part in parts(pace).values():
        fetch(part, pace)
        assert pace.missing == []
    assert {action.lower() for action in world.calls()} == world.granted
