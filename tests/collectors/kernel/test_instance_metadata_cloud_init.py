import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.world.metadata_service import AWS_MAC, Aws, Azure

from ebpf_net.collectors.kernel.instance_metadata_cloud_init import (
    CloudInitSource,
    parse_data,
)
from ebpf_net.collectors.kernel.instance_metadata_facts import (
    Instance,
    InstanceAddress,
)
from ebpf_net.collectors.kernel.instance_metadata_service import (
    MetadataError,
    Outcome,
    OutcomeCounts,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
OPENSTACK = {
    "v1": {
        "availability_zone": "nova",
        "cloud_name": "openstack",
        "instance_id": "5e5a5a5f-1c1b-4f9b-a9b7-5fa2e8a3a1aa",
        "local_hostname": "web-1",
        "platform": "openstack",
        "region": None,
    },
    "ds": {
        "meta_data": {
            "project_id": "fb0d",
            "uuid": "5e5a",
            "availability_zone": "nova",
        },
        "ec2_metadata": {
            "instance-type": "m1.small",
            "local-ipv4": "10.0.0.5",
            "public-ipv4": "203.0.113.8",
        },
        "network_json": {
            "links": [
                {"id": "tap1", "ethernet_mac_address": "fa:16:3e:00:00:01"},
                {"id": "tap2", "ethernet_mac_address": "fa:16:3e:00:00:02"},
            ],
            "networks": [
                {
                    "link": "tap1",
                    "type": "ipv4",
                    "ip_address": "10.0.0.5",
                    "network_id": "net-1",
                },
                {"link": "tap2", "type": "ipv4_dhcp", "network_id": "net-2"},
            ],
        },
    },
}
DIGITALOCEAN = {
    "v1": {
        "availability_zone": "nyc3",
        "cloud_name": "digitalocean",
        "instance_id": 2756294,
        "local_hostname": "sample",
        "region": "nyc3",
    },
    "ds": {
        "meta_data": {
            "interfaces": {
                "public": [
                    {
                        "mac": "04:01:2a:0f:2a:01",
                        "ipv4": {"ip_address": "203.0.113.20"},
                        "ipv6": {"ip_address": "2001:db8:4::1"},
                        "anchor_ipv4": {"ip_address": "10.17.0.5"},
                    }
                ],
                "private": [
                    {
                        "mac": "04:01:2a:0f:2a:02",
                        "ipv4": {"ip_address": "10.132.0.9"},
                    }
                ],
            },
            "reserved_ip": {"ipv4": {"active": True, "ip_address": "198.51.100.7"}},
        }
    },
}
HETZNER = {
    "v1": {
        "availability_zone": None,
        "cloud_name": "hetzner",
        "instance_id": "3404",
        "local_hostname": "web",
    },
    "ds": {
        "meta_data": {
            "public-ipv4": "203.0.113.30",
            "network-config": {
                "version": 1,
                "config": [
                    {
                        "mac_address": "96:00:00:08:19:da",
                        "name": "eth0",
                        "subnets": [
                            {"ipv4": True, "type": "dhcp"},
                            {"address": "2001:db8:5::1/64", "type": "static"},
                        ],
                        "type": "physical",
                    }
                ],
            },
        }
    },
}


@pytest.fixture
def counts():
    return OutcomeCounts()


def write(root, data, place="run/cloud-init/instance-data.json"):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return root


def test_openstack(tmp_path, counts):
    source = CloudInitSource(write(tmp_path, OPENSTACK), "", counts)
    assert source.instance() == Instance(
        provider="openstack",
        instance_id="5e5a5a5f-1c1b-4f9b-a9b7-5fa2e8a3a1aa",
        account="fb0d",
        zone="nova",
        instance_type="m1.small",
        name="web-1",
    )
    assert source.addresses() == [
        InstanceAddress("fa:16:3e:00:00:01", "10.0.0.5", "203.0.113.8", "net-1")
    ]
    assert source.termination_ns(5) == 0
    assert counts[Outcome.ANSWERED] == 1


def test_openstack_whose_addresses_come_by_dhcp(tmp_path, counts):
    data = json.loads(json.dumps(OPENSTACK))
    data["ds"]["network_json"]["networks"] = []
    source = CloudInitSource(write(tmp_path, data), "openstack", counts)
    source.instance()
    assert source.addresses() == [
        InstanceAddress("fa:16:3e:00:00:01", "10.0.0.5", "203.0.113.8")
    ]


def test_digitalocean(tmp_path, counts):
    source = CloudInitSource(write(tmp_path, DIGITALOCEAN), "digitalocean", counts)
    assert source.instance() == Instance(
        provider="digitalocean",
        instance_id="2756294",
        region="nyc3",
        zone="nyc3",
        name="sample",
    )
    public, private = "04:01:2a:0f:2a:01", "04:01:2a:0f:2a:02"
    assert source.addresses() == [
        InstanceAddress(public, "203.0.113.20"),
        InstanceAddress(public, "2001:db8:4::1"),
        InstanceAddress(public, "10.17.0.5", "198.51.100.7"),
        InstanceAddress(private, "10.132.0.9"),
    ]


def test_hetzner(tmp_path, counts):
    source = CloudInitSource(write(tmp_path, HETZNER), "hetzner", counts)
    assert source.instance() == Instance("hetzner", "3404", name="web")
    assert source.addresses() == [
        InstanceAddress("96:00:00:08:19:da", "2001:db8:5::1"),
        InstanceAddress("96:00:00:08:19:da", "203.0.113.30"),
    ]


def test_aws_as_it_was_at_boot(tmp_path, counts):
    document = json.loads(Aws().values["dynamic/instance-identity/document"])
    interface = {
        "interface-id": "eni-0aaa",
        "ipv4-associations": {"198.51.100.10": "10.0.1.10"},
        "local-ipv4s": ["10.0.1.10", "10.0.1.11"],
        "ipv6s": "2001:db8:1::10",
        "subnet-id": "subnet-0ddd",
        "vpc-id": "vpc-0ccc",
    }
    data = {
        "v1": {"cloud_name": "aws", "instance_id": "i-0598c7d356eba48d7"},
        "ds": {
            "dynamic": {"instance-identity": {"document": document}},
            "meta_data": {
                "instance-life-cycle": "spot",
                "network": {"interfaces": {"macs": {AWS_MAC: interface}}},
                "placement": {"availability-zone-id": "euw1-az3"},
            },
        },
    }
    source = CloudInitSource(write(tmp_path, data), "aws", counts)
    found = source.instance()
    assert (found.zone, found.zone_id) == ("eu-west-1a", "euw1-az3")
    assert (found.account, found.lifecycle) == ("123456789012", "spot")
    assert [(one.private, one.public) for one in source.addresses()] == [
        ("10.0.1.10", "198.51.100.10"),
        ("10.0.1.11", ""),
        ("2001:db8:1::10", ""),
    ]


def test_azure_as_it_was_at_boot(tmp_path, counts):
    values = Azure().values
    imds = {
        "compute": json.loads(values["instance/compute"]),
        "network": json.loads(values["instance/network"]),
    }
    data = {
        "v1": {"cloud_name": "azure", "instance_id": "02aa"},
        "ds": {"meta_data": {"imds": imds}},
    }
    source = CloudInitSource(write(tmp_path, data), "azure", counts)
    assert source.instance().zone == "westeurope-1"
    assert len(source.addresses()) == 3


def test_google_as_it_was_at_boot(tmp_path, counts):
    facts = {"instance_id": "45", "availability_zone": "europe-west4-b"}
    data = {"v1": {"cloud_name": "gce", "region": "europe-west4", **facts}}
    source = CloudInitSource(write(tmp_path, data), "gcp", counts)
    found = Instance("gcp", "45", region="europe-west4", zone="europe-west4-b")
    assert source.instance() == found
    assert source.addresses() == []


def test_of_another_boot_only_the_id_is_believed_and_only_in_that_cloud(
    tmp_path, counts
):
    write(tmp_path, "3404\n", "var/lib/cloud/data/instance-id")
    found = CloudInitSource(tmp_path, "hetzner", counts).instance()
    assert found == Instance("hetzner", "3404")
    with pytest.raises(MetadataError, match="no cloud is named"):
        CloudInitSource(tmp_path, "", counts).instance()


def test_data_of_another_cloud_is_not_believed(tmp_path, counts):
    write(tmp_path, HETZNER)
    with pytest.raises(MetadataError, match="left nothing"):
        CloudInitSource(tmp_path, "digitalocean", counts).instance()
    assert counts[Outcome.FAILED] == 1


def test_what_is_written_later_is_read(tmp_path, counts):
    source = CloudInitSource(tmp_path, "hetzner", counts)
    with pytest.raises(MetadataError, match="left nothing"):
        source.instance()
    assert source.addresses() == []
    write(tmp_path, HETZNER)
    assert source.instance().instance_id == "3404"
    assert len(source.addresses()) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"v1": {"cloud_name": "nocloud", "instance_id": "i"}}',
        '{"v1": {"cloud_name": "hetzner", "instance_id": true}}',
        '{"v1": {"cloud_name": "hetzner", "instance_id": "a\\u0000b"}}',
        '{"v1": 5}',
    ],
)
def test_data_that_makes_no_sense_is_counted(tmp_path, counts, text):
    write(tmp_path, text)
    with pytest.raises(MetadataError, match="makes no sense"):
        CloudInitSource(tmp_path, "", counts).instance()
    assert counts[Outcome.GARBAGE] == 1


def test_a_file_that_is_too_large_or_none_is_counted(tmp_path, counts):
    source = CloudInitSource(tmp_path, "", counts)
    write(tmp_path, " " * (5 << 20))
    with pytest.raises(MetadataError, match="larger"):
        source.instance()
    (tmp_path / "run/cloud-init/instance-data.json").unlink()
    (tmp_path / "run/cloud-init/instance-data.json").mkdir()
    with pytest.raises(MetadataError, match="no regular file"):
        source.instance()
    assert counts[Outcome.GARBAGE] == 2


@given(
    json_values,
    st.sampled_from(["aws", "azure", "openstack", "digitalocean", "hetzner"]),
)
def test_data_of_any_shape_is_read(tmp_path_factory, value, cloud):
    shapes = (
        value,
        {"meta_data": value, "network_json": value, "ec2_metadata": value},
        {"meta_data": {"interfaces": value, "network-config": {"config": value}}},
        {"meta_data": {"network": {"interfaces": {"macs": value}}, "imds": value}},
        {"network_json": {"links": value, "networks": value}},
    )
    root = tmp_path_factory.getbasetemp() / "any-shape"
    for shape in shapes:
        data = {"v1": {"cloud_name": cloud, "instance_id": "1"}, "ds": shape}
        with contextlib.suppress(ValueError):
            parse_data(data)
        with contextlib.suppress(MetadataError):
            source = CloudInitSource(write(root, data), "", OutcomeCounts())
            source.instance()
            source.addresses()
