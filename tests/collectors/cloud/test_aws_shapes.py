from ebpf_net.collectors.cloud.aws_shapes import (
    Instance,
    read_instance,
    read_interface,
)
from ebpf_net.collectors.cloud.records import Interface, Kind, address_range
from ebpf_net.collectors.object_labels import AllowList

_ALLOWED = AllowList(["team", "app*"])


def _read(item, instances=None, zones=None):
    item = {"NetworkInterfaceId": "eni-1"} | item
    return read_interface(item, instances or {}, zones or {}, _ALLOWED, "r")


def _ranges(*texts):
    return tuple(address_range(text, is_public=public) for text, public in texts)


def test_an_instance_has_its_name_group_and_allowed_tags():
    item = {
        "InstanceId": "i-1",
        "InstanceType": "m7g.large",
        "Tags": [
            {"Key": "Name", "Value": "web-1"},
            {"Key": "aws:autoscaling:groupName", "Value": "web"},
            {"Key": "team", "Value": "a"},
            {"Key": "secret", "Value": "b"},
        ],
    }
    assert read_instance(item, _ALLOWED) == Instance(
        "i-1", "m7g.large", "web-1", "web", '{"team":"a"}'
    )
    assert read_instance({"InstanceId": "i-1"}, _ALLOWED) == Instance("i-1")


def test_an_interface_of_an_instance_is_named_like_it():
    instance = Instance("i-1", "m7g.large", "web-1", "web", '{"team":"a"}')
    found = _read(
        {
            "AvailabilityZone": "us-east-1a",
            "VpcId": "vpc-1",
            "SubnetId": "subnet-1",
            "InterfaceType": "interface",
            "Attachment": {
                "InstanceId": "i-1",
                "AttachTime": "2026-01-01T00:00:00.000Z",
            },
            "PrivateIpAddress": "10.0.0.1",
            "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.1"}],
        },
        {"i-1": instance},
        {"us-east-1a": "use1-az4"},
    )
    assert found == Interface(
        interface_id="eni-1",
        region="r",
        kind=Kind.INSTANCE,
        addresses=_ranges(("10.0.0.1", False)),
        zone="us-east-1a",
        zone_id="use1-az4",
        network="vpc-1",
        subnet="subnet-1",
        instance_id="i-1",
        instance_type="m7g.large",
        name="web-1",
        role="web",
        tags='{"team":"a"}',
        attached_ns=1_767_225_600_000_000_000,
    )


def test_an_instance_that_nobody_may_list_has_its_id_at_least():
    found = _read({"Attachment": {"InstanceId": "i-1"}})
    assert (found.kind, found.instance_id, found.name) == (Kind.INSTANCE, "i-1", "")


def test_all_kinds_of_addresses_are_there():
    found = _read(
        {
            "PrivateIpAddress": "10.0.0.1",
            "Association": {"PublicIp": "203.0.113.1"},
            "PrivateIpAddresses": [
                {
                    "PrivateIpAddress": "10.0.0.1",
                    "Association": {"PublicIp": "203.0.113.1"},
                },
                {
                    "PrivateIpAddress": "10.0.0.2",
                    "Association": {"CarrierIp": "198.51.100.7"},
                },
            ],
            "Ipv4Prefixes": [{"Ipv4Prefix": "10.0.1.0/28"}],
            "Ipv6Addresses": [{"Ipv6Address": "2001:db8::1"}],
            "Ipv6Prefixes": [{"Ipv6Prefix": "2001:db8:0:1::/80"}],
        }
    )
    assert tuple(dict.fromkeys(found.addresses)) == _ranges(
        ("10.0.0.1", False),
        ("10.0.0.2", False),
        ("10.0.1.0/28", False),
        ("203.0.113.1", True),
        ("198.51.100.7", True),
        ("2001:db8::1", True),
        ("2001:db8:0:1::/80", True),
    )


def test_an_interface_without_a_list_of_addresses_has_its_one():
    found = _read({"PrivateIpAddress": "10.0.0.1"})
    assert found.addresses == _ranges(("10.0.0.1", False))


def test_what_a_service_made_is_named_by_it():
    found = _read(
        {"RequesterId": "amazon-elb", "Description": "ELB app/front/50dc6c495c0c9188"}
    )
    assert (found.kind, found.name, found.role) == (
        Kind.LOAD_BALANCER,
        "front",
        "front",
    )


def test_the_interfaces_own_tags_go_first_where_there_is_no_instance():
    found = _read(
        {
            "Description": "arn:aws:ecs:us-east-1:1:attachment/8f0a",
            "TagSet": [
                {"Key": "aws:ecs:serviceName", "Value": "orders"},
                {"Key": "aws:ecs:clusterName", "Value": "shop"},
                {"Key": "Name", "Value": "task"},
                {"Key": "application", "Value": "x"},
            ],
        }
    )
    assert (found.kind, found.name, found.role, found.tags) == (
        Kind.CONTAINER,
        "task",
        "shop/orders",
        '{"application":"x"}',
    )


def test_tags_of_an_interface_and_its_instance_are_put_together():
    instance = Instance("i-1", tags='{"app":"x","team":"a"}')
    item = {"Attachment": {"InstanceId": "i-1"}}
    own = {"TagSet": [{"Key": "team", "Value": "b"}, {"Key": "Name", "Value": "n"}]}
    assert _read(item, {"i-1": instance}).tags == '{"app":"x","team":"a"}'
    assert _read(item | own, {"i-1": instance}).tags == '{"app":"x","team":"b"}'
    assert _read(own).tags == '{"team":"b"}'


def test_a_database_is_known_by_its_security_group():
    item = {"RequesterId": "amazon-rds", "Description": "RDSNetworkInterface"}
    groups = {"Groups": [{"GroupName": "default"}, {"GroupName": "orders-db"}]}
    assert _read(item | groups).name == "orders-db"
    assert _read(item | groups).role == "rds"
    assert _read(item | {"Groups": groups["Groups"][:1]}).name == "rds"
    assert _read(item).name == "rds"


def test_the_zone_id_of_the_interface_does_where_zones_cannot_be_listed():
    item = {"AvailabilityZone": "us-east-1a", "AvailabilityZoneId": "use1-az1"}
    assert _read(item).zone_id == "use1-az1"
    assert _read(item, zones={"us-east-1a": "use1-az4"}).zone_id == "use1-az4"


def test_an_interface_may_say_nothing_but_its_id():
    assert _read({}) == Interface("eni-1", "r", Kind.OTHER, ())
