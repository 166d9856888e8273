from ebpf_net.collectors.cloud.gcp_names import InstanceGroups
from ebpf_net.collectors.cloud.gcp_shapes import read_database, read_instance
from ebpf_net.collectors.cloud.records import address_range
from ebpf_net.collectors.object_labels import AllowList

_NONE = AllowList()


def _read(*interfaces, **more):
    item = {"id": "77", "name": "web", "networkInterfaces": list(interfaces), **more}
    return list(read_instance(item, "us-central1-a", InstanceGroups(), _NONE))


def _addresses(**nic):
    (found,) = _read({"name": "nic0", **nic})
    return found.addresses


def _private(*texts):
    return tuple(address_range(text, is_public=False) for text in texts)


def _public(*texts):
    return tuple(address_range(text, is_public=True) for text in texts)


def test_each_interface_of_an_instance_is_one():
    base = "https://www.googleapis.com/compute/v1/projects"
    found = _read(
        {"name": "nic0", "network": f"{base}/shop/global/networks/default"},
        {"name": "nic1", "network": f"{base}/host/global/networks/shared"},
    )
    assert [one.interface_id for one in found] == ["77/nic0", "77/nic1"]
    assert [one.network for one in found] == ["shop/default", "host/shared"]
    assert [one.instance_id for one in found] == ["77", "77"]


def test_alias_ranges_are_ranges():
    found = _addresses(
        networkIP="10.0.0.2",
        aliasIpRanges=[{"ipCidrRange": "10.4.1.0/24"}, {"ipCidrRange": "10.5.0.7/32"}],
    )
    assert found == _private("10.0.0.2", "10.4.1.0/24", "10.5.0.7")


def test_public_addresses_are_told_from_private_ones():
    found = _addresses(
        networkIP="10.0.0.2", accessConfigs=[{"natIP": "34.1.2.3"}, {"type": "x"}]
    )
    assert found == _private("10.0.0.2") + _public("34.1.2.3")


def test_addresses_of_ipv6_are_ranges():
    found = _addresses(
        ipv6Address="fd20:1:2:3:0:1:0:0",
        internalIpv6PrefixLength=96,
        ipv6AccessConfigs=[
            {"externalIpv6": "2600:1900:0:1:0:2:0:0", "externalIpv6PrefixLength": 96}
        ],
        aliasIpv6Ranges=[{"ipCidrRange": "fd20:1:2:3:0:9::/96"}],
    )
    assert found == (
        *_private("fd20:1:2:3:0:1:0:0/96", "fd20:1:2:3:0:9::/96"),
        *_public("2600:1900:0:1:0:2:0:0/96"),
    )


def test_a_stopped_instance_has_what_it_keeps():
    assert _addresses(networkIP="10.0.0.2", accessConfigs=[{}]) == _private("10.0.0.2")
    assert _addresses() == ()
    assert _read() == []


def test_labels_are_tags_and_roles():
    item = {
        "id": "7",
        "name": "gke-main-big-1-x7k2",
        "networkInterfaces": [{}],
        "labels": {
            "goog-k8s-cluster-name": "main",
            "goog-k8s-node-pool-name": "big",
            "team": "shop",
        },
    }
    groups = InstanceGroups()
    groups.add("us-central1-a", {"name": "g", "baseInstanceName": "gke-main-big-1"})
    (found,) = read_instance(item, "us-central1-a", groups, AllowList(["team"]))
    assert (found.role, found.tags) == ("main/big", '{"team":"shop"}')
    assert found.interface_id == "7/nic0"


def test_addresses_are_those_since_the_last_start():
    created, started = "2026-01-01T00:00:00.000-00:00", "2026-01-02T00:00:00.000-00:00"
    (once,) = _read({}, creationTimestamp=created)
    (again,) = _read({}, creationTimestamp=created, lastStartTimestamp=started)
    assert again.attached_ns - once.attached_ns == 86_400 * 10**9


def test_a_read_pool_has_the_addresses_of_its_nodes():
    found = read_database(
        {
            "name": "pool",
            "region": "us-central1",
            "ipAddresses": [{"ipAddress": "10.60.0.3", "type": "PRIVATE"}],
            "nodes": [{"ipAddresses": [{"ipAddress": "10.60.0.4", "type": "PRIVATE"}]}],
        },
        _NONE,
    )
    assert found.addresses == _private("10.60.0.3", "10.60.0.4")
    assert found.interface_id == "sql/pool"


def test_a_database_without_settings_has_a_name():
    found = read_database({"name": "new"}, _NONE)
    assert (found.name, found.addresses, found.network) == ("new", (), "")
