"""The cloud collector as a process, against an AWS that moto plays over HTTP."""

import ipaddress
import time
from collections import Counter

import pytest
from tests.world.moto_world import (
    ACCOUNT,
    OTHER_ACCOUNT,
    REGIONS,
    Fault,
    Region,
    denied,
    moto_world,
    role_arn,
)
from tests.world.told_clouds import ToldByProcess

PLACES = [(account, name) for account in (ACCOUNT, OTHER_ACCOUNT) for name in REGIONS]
ROLES = ("--aws-role-arn", "self", "--aws-role-arn", role_arn(OTHER_ACCOUNT))
QUICK = ("--provider", "aws", "--ec2-poll-interval-ms", "400")


@pytest.fixture
def moto():
    with moto_world() as world:
        yield world


class _Clouds:
    """Interfaces in three regions of two accounts, and a collector that asks."""

    def __init__(self, moto, tmp_path, each):
        self.moto = moto
        self.regions = {place: Region(place[1], place[0]) for place in PLACES}
        self.enis = {
            place: [region.add() for _ in range(each)]
            for place, region in self.regions.items()
        }
        self.told = ToldByProcess(tmp_path, moto.environment, *QUICK, *ROLES)

    def keys(self):
        """Return the keys of all addresses there are."""
        return {
            f"aws/{account}/{name}/{eni.id} {one['PrivateIpAddress']}"
            for (account, name), region in self.regions.items()
            for eni in region.backend.enis.values()
            for one in eni.private_ip_addresses
        }

    def wait_told(self, seconds=60):
        self.told.wait_for(lambda: self.told.addresses().keys() == self.keys(), seconds)

    def pass_polls(self, count=2):
        """Wait until each part has been asked so many times more."""
        self.moto.forget_calls()
        self.told.wait_for(
            lambda: (
                self.moto.calls()["DescribeNetworkInterfaces"] >= count * len(PLACES)
            ),
            60,
        )
        windows = self.told.status()["client.sent"]
        self.told.wait_for(lambda: self.told.status()["client.sent"] >= windows + 2)


@pytest.fixture
def clouds(moto, tmp_path):
    clouds = _Clouds(moto, tmp_path, each=50)
    yield clouds
    if clouds.told.process.poll() is None:
        clouds.told.close()


def test_all_accounts_and_regions_are_told_once(clouds):
    clouds.wait_told()
    assert len(clouds.keys()) == 300
    assert clouds.told.rows("cloud_accounts").keys() == {
        f"aws/{ACCOUNT}",
        f"aws/{OTHER_ACCOUNT}",
    }
    rows = clouds.told.rows("cloud_interfaces").values()
    assert Counter((row["account"], row["region"]) for row in rows) == dict.fromkeys(
        PLACES, 50
    )
    assert {row["provider"] for row in rows} == {"aws"}
    clouds.pass_polls()
    assert clouds.told.told() == {}  # a snapshot had all, and nothing changed
    status = clouds.told.status()
    assert status["cloud.rows.interfaces"] == 300
    assert status["cloud.parts"] == 6
    assert status["cloud.failing"] == 0


def test_an_interface_that_moves_is_told_as_one_row(clouds):
    region = clouds.regions[ACCOUNT, "us-east-1"]
    first, second = region.run({"Name": "first"}), region.run({"Name": "second"})
    eni = clouds.enis[ACCOUNT, "us-east-1"][0]
    region.attach(eni, first)
    uid = f"aws/{ACCOUNT}/us-east-1/{eni.id}"
    clouds.told.wait_for(
        lambda: clouds.told.rows("cloud_interfaces").get(uid, {}).get("name") == "first"
    )
    clouds.wait_told()
    clouds.pass_polls()
    before = clouds.told.told()
    region.detach(eni)
    region.attach(eni, second)
    clouds.told.wait_for(
        lambda: clouds.told.rows("cloud_interfaces")[uid]["name"] == "second"
    )
    row = clouds.told.rows("cloud_interfaces")[uid]
    assert row["instance_id"] == second.id
    clouds.pass_polls()
    told = clouds.told.told() - before
    assert set(told) == {"cloud_interfaces"}  # its address is where it was
    assert told["cloud_interfaces"] <= 2  # once more, if it was seen detached


def test_an_address_that_changes_hands_ends_where_it_begins(clouds):
    clouds.wait_told()
    region = clouds.regions[ACCOUNT, "us-east-1"]
    old = clouds.enis[ACCOUNT, "us-east-1"][0]
    address = old.private_ip_address
    moved_ns = time.time_ns()
    region.remove(old)
    new = region.add(address)
    prefix = f"aws/{ACCOUNT}/us-east-1"
    clouds.wait_told()
    begun = clouds.told.addresses()[f"{prefix}/{new.id} {address}"]
    ended = clouds.told.addresses(ended=True)[f"{prefix}/{old.id} {address}"]
    assert begun["from_ns"] == ended["until_ns"] > moved_ns
    assert begun["network"] == ended["network"] == old.vpc_id
    assert clouds.told.told() == {"cloud_interfaces": 1, "cloud_addresses": 2}


def test_a_region_that_is_denied_loses_nothing_and_returns(clouds):
    clouds.wait_told()
    clouds.moto.fail(
        denied("ec2:DescribeNetworkInterfaces"),
        "DescribeNetworkInterfaces",
        "us-west-2",
    )
    clouds.told.wait_for(lambda: clouds.told.status()["cloud.failing"] == 2)
    lost = clouds.regions[ACCOUNT, "us-west-2"]
    lost.remove(clouds.enis[ACCOUNT, "us-west-2"][0])
    added = clouds.regions[ACCOUNT, "eu-west-1"].add()
    key = f"aws/{ACCOUNT}/eu-west-1/{added.id} {added.private_ip_address}"
    clouds.told.wait_for(lambda: key in clouds.told.addresses())
    assert len(clouds.told.addresses()) == 301
    clouds.moto.mend()
    clouds.wait_told()
    assert len(clouds.told.addresses()) == 300
    logged = clouds.told.close()
    missing = "missing permission: ec2:DescribeNetworkInterfaces"
    assert [line for line in logged.splitlines() if missing in line]
    assert logged.count(missing) == 2  # once for each account


def test_a_region_that_is_denied_from_the_start_loses_only_itself(moto, tmp_path):
    moto.fail(
        denied("ec2:DescribeNetworkInterfaces"),
        "DescribeNetworkInterfaces",
        "us-west-2",
    )
    clouds = _Clouds(moto, tmp_path, each=5)
    clouds.told.wait_for(lambda: len(clouds.told.addresses()) == 20)
    clouds.told.close()


def test_throttling_loses_and_doubles_nothing(clouds):
    clouds.wait_told()
    throttled = Fault("RequestLimitExceeded", 503, headers={"Retry-After": "1"})
    clouds.moto.fail(throttled)
    # What was answered before is over when all have asked since.
    clouds.told.wait_for(lambda: clouds.told.status()["cloud.calls_throttled"] >= 6)
    added = [region.add() for region in clouds.regions.values()]
    clouds.told.wait_for(lambda: clouds.told.status()["cloud.calls_throttled"] >= 12)
    assert len(clouds.told.addresses()) == 300
    clouds.moto.mend()
    clouds.wait_told()
    assert clouds.told.told() == {
        "cloud_interfaces": len(added),
        "cloud_addresses": len(added),
    }


def test_five_thousand_interfaces_are_told_with_few_calls(moto, tmp_path):
    for place in PLACES:
        moto_region = Region(place[1], place[0])
        for number in range(833 if place != PLACES[0] else 835):
            moto_region.add(str(ipaddress.IPv4Address("172.31.0.0") + 10 + number))
    clouds = _Clouds(moto, tmp_path, each=0)
    clouds.wait_told()
    assert len(clouds.told.addresses()) == 5000
    assert len(clouds.told.rows("cloud_interfaces")) == 5000
    calls = clouds.moto.calls()
    assert calls["DescribeInstances"] == calls["DescribeAvailabilityZones"] == 6
    assert calls["DescribeRegions"] == calls["GetCallerIdentity"] == 2
    assert calls["AssumeRole"] == 1
    assert calls["DescribeNetworkInterfaces"] >= 6
    clouds.told.close()
