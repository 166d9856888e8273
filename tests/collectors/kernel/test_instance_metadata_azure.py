import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.world.metadata_service import Azure, metadata_server

from ebpf_net.collectors.kernel.instance_metadata_azure import (
    AzureSource,
    parse_compute,
    parse_events,
    parse_network,
)
from ebpf_net.collectors.kernel.instance_metadata_facts import (
    Instance,
    InstanceAddress,
)
from ebpf_net.collectors.kernel.instance_metadata_service import (
    MetadataError,
    MetadataService,
    Outcome,
    OutcomeCounts,
)

EVICTION_NS = 1_474_309_787_000_000_000
INSTANCE = Instance(
    provider="azure",
    instance_id="02aab8a4-74ef-476e-8182-f6d2ba4166a6",
    account="8d10da13-8125-4ba9-a717-bf7490507b3d",
    region="westeurope",
    zone="westeurope-1",
    zone_id="westeurope-az2",
    instance_type="Standard_D4s_v5",
    name="web_1",
    lifecycle="spot",
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def event(kind="Preempt", machine="web_1", begin="Mon, 19 Sep 2016 18:29:47 GMT"):
    return {
        "EventId": "602d9444-d2cd-49c7-8624-8643e7171297",
        "EventType": kind,
        "ResourceType": "VirtualMachine",
        "Resources": [machine],
        "EventStatus": "Scheduled" if begin else "Started",
        "NotBefore": begin,
    }


def events(*some):
    return json.dumps({"DocumentIncarnation": 2, "Events": some})


@pytest.fixture
def azure():
    return Azure()


@pytest.fixture
def server(azure):
    with metadata_server(azure) as server:
        yield server


@pytest.fixture
def counts():
    return OutcomeCounts()


@pytest.fixture
def source(server, counts):
    return AzureSource(MetadataService(("127.0.0.1",), 5.0, counts, server.port))


def change_compute(azure, **changes):
    compute = json.loads(azure.values["instance/compute"]) | changes
    azure.values["instance/compute"] = json.dumps(compute)


def test_a_machine_knows_itself(source):
    assert source.instance() == INSTANCE


def test_addresses_are_told_with_the_public_ones_of_both_kinds(source):
    mac, subnet = "00:22:48:4b:6f:ac", "10.1.0.0/24"
    assert source.addresses() == [
        InstanceAddress(mac, "10.1.0.4", "203.0.113.40", subnet=subnet),
        InstanceAddress(mac, "10.1.0.5", "203.0.113.50", subnet=subnet),
        InstanceAddress(mac, "2001:db8:3::4"),
    ]


def test_a_machine_without_balancer_and_zone(azure, source):
    del azure.values["loadbalancer"]
    change_compute(azure, zone="", physicalZone="", priority="Regular")
    found = source.instance()
    assert (found.zone, found.zone_id, found.lifecycle) == ("", "", "on-demand")
    assert [one.public for one in source.addresses()] == ["", "203.0.113.50", ""]


def test_public_addresses_stay_while_they_cannot_be_told(azure, source, counts):
    azure.versions["loadbalancer"] = ()
    assert [one.public for one in source.addresses()] == ["", "203.0.113.50", ""]
    azure.versions["loadbalancer"] = ("2020-10-01",)
    known = source.addresses()
    assert known[0].public == "203.0.113.40"
    azure.versions["loadbalancer"] = ()
    assert source.addresses() == known
    assert counts[Outcome.FAILED] == 2


def test_a_service_of_an_older_version_is_asked_in_its_own(azure, source, server):
    azure.versions["instance"] = ("2021-02-01",)
    change_compute(azure, physicalZone=None)
    assert source.instance().zone_id == ""
    assert len(source.addresses()) == 3
    asked = len(server.asked)
    source.instance()
    assert len(server.asked) == asked + 1  # it is remembered


def test_a_service_that_knows_no_version_fails(azure, source, counts):
    azure.versions["instance"] = ()
    with pytest.raises(MetadataError, match="status 400"):
        source.instance()
    assert counts[Outcome.FAILED] == 2


def test_a_spot_machine_is_told_when_it_ends(azure, source):
    source.instance()
    assert source.termination_ns(5) == 0
    azure.values["scheduledevents"] = events(event("Reboot", begin=""), event())
    assert source.termination_ns(5) == EVICTION_NS
    azure.values["scheduledevents"] = events(event(begin=""))  # it has begun
    assert source.termination_ns(6) == EVICTION_NS
    azure.values["scheduledevents"] = events()
    assert source.termination_ns(7) == 0
    azure.values["scheduledevents"] = events(event(begin=""))
    assert source.termination_ns(8) == 8


def test_others_are_not_asked_for_events(azure, source, server):
    change_compute(azure, priority="")
    source.instance()
    assert source.termination_ns(5) == 0
    assert not any("scheduledevents" in path for path in server.asked)


def test_an_event_of_another_machine_ends_nothing():
    document = json.loads(events(event(machine="web_2"), event("Freeze")))
    assert parse_events(document, "web_1") is None


@pytest.mark.parametrize("value", ["{}", "[]", "null", '{"vmId": 5}', "{", "\x00"])
def test_garbage_about_the_machine_is_counted(azure, source, counts, value):
    azure.values["instance/compute"] = value
    with pytest.raises(MetadataError, match="makes no sense"):
        source.instance()
    assert counts[Outcome.GARBAGE] == 1


def test_garbage_about_events_is_counted(azure, source, counts):
    source.instance()
    azure.values["scheduledevents"] = events(event(begin="soon"))
    with pytest.raises(MetadataError, match="makes no sense"):
        source.termination_ns(5)


@given(json_values)
def test_parsers_raise_only_value_errors(value):
    with contextlib.suppress(ValueError):
        parse_compute(value)
    with contextlib.suppress(ValueError):
        parse_events(
            {"Events": [value, {"EventType": "Preempt", "Resources": value}]}, "a"
        )
    parse_network(value, {})
    parse_network({"interface": [{"ipv4": {"ipAddress": value, "subnet": value}}]}, {})
    parse_network({"interface": [{"ipv6": value, "macAddress": value}]}, {})
