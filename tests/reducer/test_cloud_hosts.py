import numpy as np

from ebpf_net.reducer.cloud_hosts import hosts_in_clouds
from ebpf_net.reducer.cloud_tables import clouds_of
from ebpf_net.reducer.lookups import NOBODY
from ebpf_net.reducer.places import host_address_key
from ebpf_net.reducer.reference import Change, References
from ebpf_net.testing.clouds import CloudAccount, instance_address_row, instance_row
from ebpf_net.testing.tables import make_table, split_address

FIRST, SECOND, CLOUD = 1, 2, 9


def networks(told, *asked):
    """The name of each host's only VPC, and of those of ``asked``: host and address."""
    references = References()
    references.apply(
        [
            Change(
                source,
                {name: make_table(name, rows) for name, rows in tables.items()},
                snapshot=False,
            )
            for source, tables in told.items()
        ],
        0,
    )
    clouds = clouds_of(references.tables)
    hosts = hosts_in_clouds(references.tables["hosts"], clouds)
    names = clouds["networks"]["name"].to_pylist()
    halves = np.array([split_address(text) for _, text in asked]).reshape(-1, 2)
    host = np.array([number for number, _ in asked], np.int64)
    found = hosts.network_of_address.find(host_address_key(host, *halves.T))
    return [
        [names[row] if row != NOBODY else None for row in column.tolist()]
        for column in (hosts.network, found)
    ]


def host(name, *addresses, instance=""):
    return {
        "hosts": [{"host_id": name}],
        "cloud_instances": [instance_row(instance)] if instance else [],
        "cloud_instance_addresses": [
            instance_address_row(*one, interface=f"eni-{number}")
            for number, one in enumerate(addresses)
        ],
    }


def test_host_of_one_vpc_is_in_it_and_of_two_by_address():
    told = {
        FIRST: host("a", ("10.0.0.1", "vpc-a"), ("10.0.0.2", "vpc-a")),
        SECOND: host("b", ("10.0.0.1", "vpc-a"), ("10.1.0.1", "vpc-b")),
    }
    asked = [(0, "10.0.0.1"), (1, "10.0.0.1"), (1, "10.1.0.1"), (0, "10.1.0.1")]
    assert networks(told, *asked) == [
        ["vpc-a", None],
        ["vpc-a", "vpc-a", "vpc-b", None],
    ]


def test_instance_id_finds_the_interfaces_of_each_of_its_collectors():
    account = CloudAccount()
    account.add("eni-0", "vpc-a", ["10.0.0.1"], ["198.51.100.1"], instance_id="i-1")
    account.add("eni-1", "vpc-b", ["10.1.0.1", "10.1.16.0/28"], instance_id="i-2")
    told = {
        FIRST: host("a", ("10.0.0.1", ""), instance="i-1"),
        SECOND: host("a again", instance="i-1"),
        3: host("b", instance="i-2"),
        4: host("outside"),
        CLOUD: account.tables,
    }
    asked = [(0, "10.0.0.1"), (1, "10.0.0.1"), (2, "10.1.0.1"), (0, "198.51.100.1")]
    assert networks(told, *asked) == [
        ["vpc-a", "vpc-a", "vpc-b", None],
        ["vpc-a", "vpc-a", "vpc-b", None],
    ]


def test_hosts_without_an_instance_are_nowhere():
    account = CloudAccount()
    account.add("eni-0", "vpc-a", ["10.0.0.1"])
    assert networks({FIRST: host("a"), CLOUD: account.tables}) == [[None], []]
