import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.world.metadata_service import AWS_MAC, Aws, Silent, metadata_server

from ebpf_net.collectors.kernel.instance_metadata_aws import (
    AwsSource,
    parse_document,
    parse_interfaces,
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

TOKEN, DOCUMENT = "PUT /latest/api/token", "dynamic/instance-identity/document"
ACTION = "GET /latest/meta-data/spot/instance-action"
INTERFACES = "meta-data/network/interfaces/macs"
INTERRUPTION_NS = 1_505_722_920_000_000_000
INSTANCE = Instance(
    provider="aws",
    instance_id="i-0598c7d356eba48d7",
    account="123456789012",
    region="eu-west-1",
    zone="eu-west-1a",
    zone_id="euw1-az3",
    instance_type="m7g.large",
    name="web 1",
    lifecycle="spot",
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class Asking:
    """A source that asks a service, with a clock that is set by hand."""

    def __init__(self, server, timeout_seconds=5.0, **options):
        self.server = server
        self.counts = OutcomeCounts()
        self.seconds = 0.0
        service = MetadataService(
            ("127.0.0.1",), timeout_seconds, self.counts, server.port
        )
        self.source = AwsSource(service, monotonic=lambda: self.seconds, **options)

    def asked(self, what):
        return self.server.asked.count(what)


@pytest.fixture
def aws():
    return Aws()


@pytest.fixture
def server(aws):
    with metadata_server(aws) as server:
        yield server


def test_an_instance_knows_itself(server):
    assert Asking(server).source.instance() == INSTANCE


def test_all_interfaces_addresses_are_told_with_the_public_ones(server):
    first = {"network": "vpc-0ccc", "subnet": "subnet-0ddd"}
    assert Asking(server).source.addresses() == [
        InstanceAddress("eni-0aaa", "10.0.1.10", "198.51.100.10", **first),
        InstanceAddress("eni-0aaa", "10.0.1.11", "", **first),
        InstanceAddress("eni-0aaa", "2001:db8:1::10", "", **first),
        InstanceAddress("eni-0bbb", "10.0.2.20", "", "vpc-0ccc", "subnet-0eee"),
    ]


def test_what_is_not_there_stays_unknown(aws, server):
    aws.values = {DOCUMENT: aws.values[DOCUMENT]}
    asking = Asking(server)
    found = asking.source.instance()
    assert (found.zone_id, found.name, found.lifecycle) == ("", "", "")
    assert found.instance_id == INSTANCE.instance_id
    assert asking.counts[Outcome.ANSWERED] == len(server.asked)
    with pytest.raises(MetadataError, match="does not have"):
        asking.source.addresses()


def test_a_name_of_any_characters_is_told_as_far_as_it_can_be_shown(aws, server):
    aws.values["meta-data/tags/instance/Name"] = "W\u00e9b\u200b\x07 1" + "x" * 5000
    assert Asking(server).source.instance().name == "W\u00e9b 1" + "x" * 1019


def test_one_token_serves_until_half_of_its_time_is_over(server):
    asking = Asking(server)
    asking.source.instance()
    asking.source.addresses()
    assert asking.asked(TOKEN) == 1
    asking.seconds = 10_799
    asking.source.instance()
    assert asking.asked(TOKEN) == 1
    asking.seconds = 10_800
    asking.source.instance()
    assert asking.asked(TOKEN) == 2


def test_a_token_that_lasts_less_is_renewed_sooner(aws, server):
    aws.token_seconds = 60
    asking = Asking(server)
    asking.source.instance()
    asking.seconds = 30
    asking.source.instance()
    assert asking.asked(TOKEN) == 2


def test_a_token_that_is_refused_is_renewed_once(aws, server):
    asking = Asking(server)
    asking.source.instance()
    aws.tokens.clear()
    assert asking.source.instance() == INSTANCE
    assert asking.asked(TOKEN) == 2
    assert asking.counts[Outcome.REFUSED] == 1


def test_without_a_token_nothing_is_asked(aws, server):
    aws.gives_token, aws.needs_token = False, False
    asking = Asking(server)
    with pytest.raises(MetadataError, match="refuses /latest/api/token"):
        asking.source.instance()
    assert server.asked == [TOKEN]


def test_version_1_is_asked_where_it_is_allowed(aws, server):
    aws.gives_token, aws.needs_token = False, False
    asking = Asking(server, allow_version_1=True)
    assert asking.source.instance() == INSTANCE
    assert len(asking.source.addresses()) == 4
    assert asking.asked(TOKEN) == 1
    aws.gives_token = aws.needs_token = True
    assert asking.source.instance() == INSTANCE  # with a token as soon as there is one


def test_version_1_that_is_refused_is_not_tried_for_ever(aws, server):
    aws.gives_token = False
    with pytest.raises(MetadataError, match="instance-identity"):
        Asking(server, allow_version_1=True).source.instance()
    assert len(server.asked) == 2


def test_a_token_that_never_comes_costs_one_limit():
    with metadata_server(Silent()) as server:
        asking = Asking(server, 0.2)
        with pytest.raises(MetadataError, match=r"no answer within 0\.2 s"):
            asking.source.instance()
        assert server.asked == [TOKEN]
        assert asking.counts[Outcome.TIMEOUT] == 1


def test_a_spot_instance_is_told_when_it_ends(aws, server):
    asking = Asking(server)
    asking.source.instance()
    assert asking.source.termination_ns(0) == 0
    action = '{"action": "terminate", "time": "2017-09-18T08:22:00Z"}'
    aws.values["meta-data/spot/instance-action"] = action
    assert asking.source.termination_ns(0) == INTERRUPTION_NS
    del aws.values["meta-data/spot/instance-action"]
    assert asking.source.termination_ns(0) == 0
    assert asking.asked(ACTION) == 3


def test_others_are_not_asked_each_time(aws, server):
    aws.values["meta-data/instance-life-cycle"] = "on-demand"
    asking = Asking(server)
    asking.source.instance()
    asked = len(server.asked)
    assert asking.source.termination_ns(0) == 0
    assert len(server.asked) == asked


def test_a_retirement_ends_an_instance_and_a_reboot_does_not(aws, server):
    events = [
        {
            "Code": "system-reboot",
            "State": "active",
            "NotBefore": "1 Jan 2017 00:00:00 GMT",
        },
        {"Code": "instance-stop", "State": "completed", "NotBefore": "x"},
        {
            "Code": "instance-retirement",
            "State": "active",
            "NotBefore": "18 Sep 2017 08:22:00 GMT",
        },
    ]
    aws.values["meta-data/instance-life-cycle"] = "on-demand"
    aws.values["meta-data/events/maintenance/scheduled"] = json.dumps(events)
    asking = Asking(server)
    asking.source.instance()
    assert asking.source.termination_ns(0) == INTERRUPTION_NS


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (DOCUMENT, "{}"),
        (DOCUMENT, "[1]"),
        (DOCUMENT, "<html>"),
        (DOCUMENT, '{"instanceId": "i-1\\u0000"}'),
        ("meta-data/placement/availability-zone-id", "a\x07"),
        ("meta-data/events/maintenance/scheduled", "["),
        (
            "meta-data/events/maintenance/scheduled",
            '[{"Code": "instance-stop", "State": "active"}]',
        ),
    ],
)
def test_garbage_about_the_instance_is_counted(aws, server, path, value):
    aws.values[path] = value
    asking = Asking(server)
    with pytest.raises(MetadataError, match="makes no sense"):
        asking.source.instance()
    assert asking.counts[Outcome.GARBAGE] == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", "../../user-data"),
        ("", "\n".join(f"02:00:00:00:00:{n:02x}" for n in range(65))),
        (f"{AWS_MAC}/ipv4-associations/", "x?y"),
        (f"{AWS_MAC}/local-ipv4s", "<html>"),
        (f"{AWS_MAC}/ipv6s", "fe80::%1"),
    ],
)
def test_garbage_about_addresses_is_counted_and_asks_nothing_more(
    aws, server, path, value
):
    aws.values[f"{INTERFACES}/{path}"] = value
    asking = Asking(server)
    with pytest.raises(MetadataError, match="makes no sense"):
        asking.source.addresses()
    assert asking.counts[Outcome.GARBAGE] == 1


@pytest.mark.parametrize("value", ["", "soon", '{"time": 5}', '{"action": "stop"}'])
def test_garbage_about_an_interruption_is_counted(aws, server, value):
    aws.values["meta-data/spot/instance-action"] = value
    asking = Asking(server)
    asking.source.instance()
    with pytest.raises(MetadataError, match="makes no sense"):
        asking.source.termination_ns(0)


@given(json_values)
def test_parsers_raise_only_value_errors(value):
    with contextlib.suppress(ValueError):
        parse_document(value)
    parse_interfaces(value)
    parse_interfaces({"mac": value})
    parse_interfaces({"mac": {"ipv4-associations": value, "local-ipv4s": value}})
