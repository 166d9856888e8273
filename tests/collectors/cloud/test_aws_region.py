import threading

import pytest
from tests.world.moto_world import ACCOUNT, Fault, Region, denied

from ebpf_net.collectors.cloud import aws_region
from ebpf_net.collectors.cloud.aws_region import AwsRegion
from ebpf_net.collectors.cloud.aws_session import AwsSession, SessionOptions
from ebpf_net.collectors.cloud.pace import CallCounter, CallPace, PaceOptions
from ebpf_net.collectors.cloud.providers import PartFailed, PartKey
from ebpf_net.collectors.object_labels import AllowList


@pytest.fixture
def region(moto):
    return Region("us-east-1")


@pytest.fixture
def part(moto):
    return AwsRegion(
        PartKey("aws", ACCOUNT, "us-east-1"), AwsSession(SessionOptions()), AllowList()
    )


@pytest.fixture
def pace():
    return CallPace(
        CallCounter(),
        threading.Event(),
        PaceOptions(tries=3, first_wait_seconds=0.001, longest_distance_seconds=0.01),
    )


def _fetch(part, pace):
    pace.missing.clear()
    return {one.interface_id: one for one in part.fetch(pace)}


def test_interfaces_have_what_their_instance_and_zone_say(moto, region, part, pace):
    instance = region.run({"Name": "web-1", "aws:autoscaling:groupName": "web"})
    eni = region.add("172.31.1.5")
    region.attach(eni, instance)
    found = _fetch(part, pace)[eni.id]
    assert found.name == "web-1"
    assert found.role == "web"
    assert found.instance_id == instance.id
    assert found.instance_type == "m5.large"
    assert found.zone == "us-east-1a"
    assert found.zone_id.startswith("use1-az")
    assert found.network == eni.vpc_id
    assert found.subnet == eni.subnet_id
    assert found.attached_ns > 0
    assert pace.missing == []


def test_pages_are_read_to_the_end(moto, region, part, pace, monkeypatch):
    monkeypatch.setattr(aws_region, "PAGE_INTERFACES", 7)
    monkeypatch.setattr(aws_region, "PAGE_INSTANCES", 2)
    enis = [region.add() for _ in range(30)]
    for number, eni in enumerate(enis[:5]):
        region.attach(eni, region.run({"Name": f"n{number}"}))
    found = _fetch(part, pace)
    assert {eni.id for eni in enis} <= found.keys()
    assert len(found) == 35  # each instance has one of its own
    assert [found[eni.id].name for eni in enis[:6]] == [
        "n0",
        "n1",
        "n2",
        "n3",
        "n4",
        "",
    ]
    assert moto.calls("DescribeNetworkInterfaces", "DescribeInstances") == {
        "DescribeNetworkInterfaces": 5,
        "DescribeInstances": 3,
    }


def test_instances_are_listed_now_and_then_only(moto, region, part, pace):
    region.attach(region.add(), region.run())
    for _ in range(3):
        _fetch(part, pace)
    assert moto.calls() == {
        "DescribeAvailabilityZones": 1,
        "DescribeInstances": 1,
        "DescribeNetworkInterfaces": 3,
    }


def test_only_new_instances_are_asked_for_in_between(moto, region, part, pace):
    _fetch(part, pace)
    eni = region.add()
    region.attach(eni, region.run({"Name": "new"}))
    assert _fetch(part, pace)[eni.id].name == "new"
    _fetch(part, pace)
    assert moto.calls("DescribeInstances") == {"DescribeInstances": 2}


def test_without_instances_only_their_names_are_lost(moto, region, part, pace):
    eni = region.add()
    region.attach(eni, region.run({"Name": "x"}))
    moto.fail(denied("ec2:DescribeInstances"), "DescribeInstances")
    for _ in range(2):
        found = _fetch(part, pace)[eni.id]
        assert (found.name, found.zone_id != "") == ("", True)
        assert [one.missing_permission for one in pace.missing] == [
            "ec2:DescribeInstances"
        ]
    assert moto.calls("DescribeInstances") == {"DescribeInstances": 1}


def test_what_fails_in_passing_is_asked_for_with_the_next_poll(
    moto, region, part, pace
):
    eni = region.add()
    region.attach(eni, region.run({"Name": "x"}))
    moto.fail(Fault("InternalError", 500, times=3), "DescribeInstances")
    assert _fetch(part, pace)[eni.id].name == ""
    assert len(pace.missing) == 1
    assert _fetch(part, pace)[eni.id].name == "x"
    assert pace.missing == []


def test_without_zones_their_ids_are_lost(moto, region, part, pace):
    eni = region.add()
    moto.fail(denied("ec2:DescribeAvailabilityZones"), "DescribeAvailabilityZones")
    found = _fetch(part, pace)[eni.id]
    assert (found.zone, found.zone_id) == ("us-east-1a", "")


def test_without_interfaces_there_is_nothing(moto, part, pace):
    moto.fail(denied("ec2:DescribeNetworkInterfaces"), "DescribeNetworkInterfaces")
    with pytest.raises(PartFailed) as failed:
        _fetch(part, pace)
    assert failed.value.missing_permission == "ec2:DescribeNetworkInterfaces"


def test_throttling_slows_a_fetch_and_loses_nothing(moto, region, part, pace):
    enis = [region.add() for _ in range(3)]
    moto.fail(Fault("RequestLimitExceeded", 503, times=2), "DescribeNetworkInterfaces")
    assert {eni.id for eni in enis} == _fetch(part, pace).keys()


def test_what_is_no_xml_is_tried_again(moto, region, part, pace):
    eni = region.add()
    moto.fail(
        Fault("x", 200, message="</Message>", times=1), "DescribeNetworkInterfaces"
    )
    assert list(_fetch(part, pace)) == [eni.id]
