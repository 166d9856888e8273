from ebpf_net.collectors.kernel.instance_metadata_facts import (
    Instance,
    InstanceAddress,
)
from ebpf_net.schema import TABLES

MAPPED = 0xFFFF << 32


def named(table, row):
    return dict(zip([name for name, _ in TABLES[table][:-1]], row, strict=True))


def test_an_instance_is_a_row():
    instance = Instance(
        "aws", "i-1", "123", "eu-west-1", "eu-west-1a", "euw1-az3", "t3", "web", "spot"
    )
    assert named("cloud_instances", instance.row(5)) == {
        "instance_key": "aws/i-1",
        "provider": "aws",
        "account": "123",
        "region": "eu-west-1",
        "zone": "eu-west-1a",
        "zone_id": "euw1-az3",
        "instance_id": "i-1",
        "instance_type": "t3",
        "name": "web",
        "lifecycle": "spot",
        "termination_ns": 5,
    }


def test_an_address_is_a_row():
    address = InstanceAddress("eni-1", "10.0.0.1", "198.51.100.1", "vpc-1", "subnet-1")
    assert named("cloud_instance_addresses", address.row()) == {
        "address_key": "eni-1 10.0.0.1",
        "interface_id": "eni-1",
        "network": "vpc-1",
        "subnet": "subnet-1",
        "private_address_high": 0,
        "private_address_low": MAPPED | 0x0A000001,
        "public_address_high": 0,
        "public_address_low": MAPPED | 0xC6336401,
    }


def test_an_address_may_have_no_public_one():
    row = named("cloud_instance_addresses", InstanceAddress("e", "2001:db8::1").row())
    assert row["private_address_high"] == 0x20010DB8 << 32
    assert row["public_address_high"] == row["public_address_low"] == 0


def test_what_is_no_address_is_no_row():
    assert InstanceAddress("e", "").row() is None
    assert InstanceAddress("e", "10.0.0.0/24").row() is None
