from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reducer.naming import WINDOW, Labels, Told

from ebpf_net.reducer.address_names import Asked
from ebpf_net.reducer.claims import Span
from ebpf_net.reducer.cloud_names import CloudNames
from ebpf_net.reducer.cloud_tables import clouds_of
from ebpf_net.reducer.lookups import NOBODY
from ebpf_net.reducer.networks import parse_networks
from ebpf_net.reducer.reference import Change, References
from ebpf_net.testing.clouds import CloudAccount, instance_address_row, instance_row
from ebpf_net.testing.kubernetes import Cluster
from ebpf_net.testing.tables import client_row, make_table, split_address

HOST, OTHER_HOST, CLOUD = 1, 2, 9
OWN, DATABASE, ELSEWHERE = "10.0.0.1", "10.0.0.2", "10.9.0.2"
PUBLIC = "198.51.100.7"
VPC, OTHER_VPC = "vpc-a", "vpc-b"


@pytest.fixture
def account() -> CloudAccount:
    made = CloudAccount()
    made.add(
        "eni-db",
        VPC,
        [DATABASE],
        role="orders",
        name="db tag",
        kind="database",
        zone="eu-west-1a",
        zone_id="euw1-az3",
        subnet="subnet-1",
        tags='{"team":"shop"}',
    )
    made.add("eni-far", OTHER_VPC, [ELSEWHERE, DATABASE], name="far")
    made.add(
        "eni-nat", VPC, ["10.0.0.9"], [PUBLIC], kind="nat_gateway", zone="eu-west-1b"
    )
    return made


@pytest.fixture
def instance(told: Told, account: CloudAccount) -> Told:
    """A host in a VPC, and what the cloud's collector tells."""
    told.tell_host(HOST, "web")
    told.tell(
        HOST,
        cloud_instances=[
            instance_row(
                "i-1",
                account="111122223333",
                region="eu-west-1",
                zone="eu-west-1c",
                zone_id="euw1-az1",
            )
        ],
        cloud_instance_addresses=[
            instance_address_row(OWN, VPC, subnet="subnet-0", interface="eni-own")
        ],
    )
    told.tell(CLOUD, **account.tables)
    return told


def peer_of(told: Told, address: str, port: int = 80, source: int = HOST) -> Labels:
    ((_, peer),) = told.name((source, client_row(OWN, address, port)))
    return peer


def short(labels: Labels) -> tuple[str, str]:
    return labels["workload.name"], labels["resolution_type"]


def test_interface_of_the_own_vpc_has_every_label(instance):
    assert peer_of(instance, DATABASE, 5432) == {
        "workload.name": "orders",
        "availability_zone": "eu-west-1a",
        "id": DATABASE,
        "ip": DATABASE,
        "resolution_type": "AWS",
        "environment": "(no agent)",
        "region": "eu-west-1",
        "cloud.provider": "aws",
        "cloud.account.id": "111122223333",
        "cloud.zone.id": "euw1-az3",
        "cloud.vpc.id": VPC,
        "cloud.subnet.id": "subnet-1",
        "cloud.interface.id": "eni-db",
        "cloud.tags": '{"team":"shop"}',
    }


def test_instance_with_a_collector_has_the_labels_of_its_own_metadata(instance):
    ((own, _),) = instance.name((HOST, client_row(OWN, DATABASE, 80)))
    cloud = {name: text for name, text in own.items() if name.startswith("cloud.")}
    assert cloud == {
        "cloud.provider": "aws",
        "cloud.account.id": "111122223333",
        "cloud.zone.id": "euw1-az1",
        "cloud.vpc.id": VPC,
        "cloud.subnet.id": "subnet-0",
        "cloud.interface.id": "eni-own",
        "cloud.instance.id": "i-1",
    }
    assert own["resolution_type"] == "PROCESS"
    assert (own["availability_zone"], own["region"]) == ("eu-west-1c", "eu-west-1")


def test_own_interface_adds_what_the_clouds_collector_knows(instance, account):
    account.add("eni-own", VPC, [OWN], subnet="subnet-0", tags='{"a":"b"}')
    instance.tell(CLOUD, **account.tables)
    ((own, _),) = instance.name((HOST, client_row(OWN, DATABASE, 80)))
    assert (own["cloud.interface.id"], own["cloud.tags"]) == ("eni-own", '{"a":"b"}')
    assert own["resolution_type"] == "PROCESS"


def test_own_interface_is_found_by_its_public_address_too(instance, account):
    address = "2001:db8:1::10"  # of the instance itself, not translated
    account.add("eni-own", VPC, [OWN], [address], tags='{"a":"b"}')
    instance.tell(CLOUD, **account.tables)
    row = client_row(address, "2001:db8:9::1", 80)
    ((own, _),) = instance.name((HOST, row))
    assert (own["cloud.interface.id"], own["cloud.tags"]) == ("eni-own", '{"a":"b"}')
    assert (own["ip"], own["cloud.vpc.id"]) == (address, VPC)


def test_role_then_name_then_kind_is_the_workload(instance):
    assert short(peer_of(instance, ELSEWHERE)) == ("far", "AWS")
    assert short(peer_of(instance, "10.0.0.9")) == ("nat_gateway", "AWS")


@pytest.mark.parametrize(
    ("provider", "kind"), [("gcp", "GCP"), ("azure", "AZURE"), ("other", "CLOUD")]
)
def test_resolution_type_is_the_provider(instance, provider, kind):
    account = CloudAccount("p", provider)
    account.add("nic", "net", ["10.20.0.1"], name="vm")
    instance.tell(CLOUD + 1, **account.tables)
    assert short(peer_of(instance, "10.20.0.1")) == ("vm", kind)


def test_public_address_is_known_from_anywhere(instance):
    instance.tell_host(OTHER_HOST, "outside")
    for source in (HOST, OTHER_HOST):
        peer = peer_of(instance, PUBLIC, source=source)
        assert short(peer) == ("nat_gateway", "AWS")
        assert (peer["availability_zone"], peer["cloud.vpc.id"]) == ("eu-west-1b", VPC)


def test_address_of_two_vpcs_is_nobodys_for_a_stranger(instance):
    instance.tell_host(OTHER_HOST, "outside")
    peer = peer_of(instance, DATABASE, source=OTHER_HOST)
    assert short(peer) == ("(unknown)", "IP")
    assert "cloud.vpc.id" not in peer
    peer = peer_of(instance, ELSEWHERE, source=OTHER_HOST)
    assert (peer["workload.name"], peer["cloud.vpc.id"]) == ("far", OTHER_VPC)


def test_hosts_of_two_vpcs_see_their_own_address(instance):
    instance.tell_host(OTHER_HOST, "other")
    instance.tell(
        OTHER_HOST,
        cloud_instances=[instance_row("i-2")],
        cloud_instance_addresses=[instance_address_row(OWN, OTHER_VPC)],
    )
    names = [
        peer_of(instance, DATABASE, source=one)["workload.name"]
        for one in (HOST, OTHER_HOST)
    ]
    assert names == ["orders", "far"]


def test_local_address_tells_the_vpc_of_a_host_in_two(told, account):
    told.tell_host(HOST, "both")
    told.tell(
        HOST,
        cloud_instances=[instance_row("i-1")],
        cloud_instance_addresses=[
            instance_address_row(OWN, VPC),
            instance_address_row("10.9.0.1", OTHER_VPC, interface="eni-1"),
        ],
    )
    told.tell(CLOUD, **account.tables)
    rows = [
        (HOST, client_row(own, DATABASE, 80)) for own in (OWN, "10.9.0.1", "172.17.0.2")
    ]
    names = [peer["workload.name"] for _, peer in told.name(*rows)]
    assert names == ["orders", "far", "(unknown)"]


def test_vpc_is_known_by_the_instance_where_its_host_does_not_tell_it(told, account):
    account.add("nic-1", VPC, ["10.0.0.1"], instance_id="i-1")
    told.tell_host(HOST, "azure")
    told.tell(
        HOST,
        cloud_instances=[instance_row("i-1")],
        cloud_instance_addresses=[instance_address_row(OWN, "")],
    )
    told.tell(CLOUD, **account.tables)
    assert short(peer_of(told, DATABASE)) == ("orders", "AWS")


def test_the_clouds_name_of_a_vpc_goes_before_the_hosts_own(told, account):
    account.add("nic0", VPC, [OWN], instance_id="i-1")
    told.tell_host(HOST, "shared vpc")
    told.tell(
        HOST,
        cloud_instances=[instance_row("i-1")],
        cloud_instance_addresses=[instance_address_row(OWN, "another name")],
    )
    told.tell(CLOUD, **account.tables)
    assert short(peer_of(told, DATABASE)) == ("orders", "AWS")


def test_users_zone_goes_first_and_has_no_id(instance):
    instance.tell_host(HOST, "web", zone="rack-1")
    ((own, _),) = instance.name((HOST, client_row(OWN, DATABASE, 80)))
    assert own["availability_zone"] == "rack-1"
    assert "cloud.zone.id" not in own
    instance.tell_host(HOST, "web", zone="eu-west-1c")
    ((own, _),) = instance.name((HOST, client_row(OWN, DATABASE, 80)))
    assert own["cloud.zone.id"] == "euw1-az1"


def test_cluster_goes_first_and_its_pods_have_the_interfaces_zone(instance):
    cluster = Cluster()
    cluster.add_node("node-web", boot_id="boot-web", zone="node-zone")
    cluster.add_pod("pod", [DATABASE], workload="pod-workload")
    cluster.add_pod("far", [ELSEWHERE], workload="far-workload")
    instance.tell_cluster(CLOUD + 1, cluster)
    peer = peer_of(instance, DATABASE)
    assert short(peer) == ("pod-workload", "K8S_POD")
    assert (peer["availability_zone"], peer["cloud.interface.id"]) == (
        "eu-west-1a",
        "eni-db",
    )
    ((own, _),) = instance.name((HOST, client_row(OWN, DATABASE, 80)))
    assert own["availability_zone"] == "eu-west-1c"
    # An address of a cluster is not one of a VPC where the other end is not.
    peer = peer_of(instance, ELSEWHERE)
    assert short(peer) == ("far-workload", "K8S_POD")
    assert "cloud.vpc.id" not in peer


def test_cloud_goes_before_networks_and_dns(instance):
    instance.names.networks = parse_networks("10.0.0.0/8 office")
    assert short(peer_of(instance, DATABASE, 53)) == ("orders", "AWS")
    assert short(peer_of(instance, "10.0.0.77", 53)) == ("office", "NETWORK")


def test_address_that_changes_hands_is_of_who_had_it_then(instance, account):
    middle = (WINDOW.start_ns, WINDOW.start_ns + 4)
    account.add("eni-old", VPC, ["10.0.0.3"], span=middle, name="old")
    account.add("eni-new", VPC, ["10.0.0.3"], span=(middle[1], 0), name="new")
    instance.tell(CLOUD, **account.tables)
    assert peer_of(instance, "10.0.0.3")["workload.name"] == "new"
    instance.span = Span(*middle)
    assert peer_of(instance, "10.0.0.3")["workload.name"] == "old"


def test_later_collector_of_an_account_counts(instance):
    moved = CloudAccount()
    moved.add("eni-db", VPC, [DATABASE], role="renamed")
    instance.tell(CLOUD + 1, **moved.tables)
    assert peer_of(instance, DATABASE)["workload.name"] == "renamed"


def test_addresses_on_the_own_host_have_its_instance(instance):
    for address in ("127.0.0.1", "169.254.169.254"):
        peer = peer_of(instance, address)
        assert peer["availability_zone"] == "eu-west-1c"
        assert (peer["cloud.instance.id"], peer["cloud.vpc.id"]) == ("i-1", VPC)


# -- against a plain search -------------------------------------------------------

_ADDRESSES = [f"10.0.0.{number}" for number in range(16)]
_RANGES = st.sampled_from(
    [f"10.0.0.{first}/{bits}" for bits in (28, 30, 31, 32)
     for first in range(0, 16, 1 << (32 - bits))]
)  # fmt: skip
_HELD = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", ""]),
        _RANGES,
        st.integers(1000, 1010),
        st.integers(0, 10),
    ),
    max_size=6,
    unique_by=lambda one: one[:3],
)


@given(held=_HELD, order=st.randoms())
def test_names_are_those_of_a_plain_search_in_any_order(held, order):
    account = CloudAccount()
    order.shuffle(held)
    for number, (network, prefix, start, length) in enumerate(held):
        span = (start, start + length if length else 0)
        private, public = ([prefix], []) if network else ([], [prefix])
        account.add(f"eni-{number}", network, private, public, span=span)
    references = References()
    tables = {name: make_table(name, rows) for name, rows in account.tables.items()}
    references.apply([Change(CLOUD, tables, snapshot=True)], 0)
    clouds = clouds_of(references.tables)
    names = CloudNames(clouds, np.empty(0, np.int64))
    networks = clouds["networks"]["name"].to_pylist()
    halves = np.array([split_address(one) for one in _ADDRESSES], np.int64)
    for network in ("a", "b", "c", None):
        number = networks.index(network) if network in networks else NOBODY
        place = np.full(len(_ADDRESSES), number)
        nowhere = np.full(len(_ADDRESSES), NOBODY)
        zero = np.zeros(len(_ADDRESSES), np.int64)
        asked = Asked((nowhere, place), halves[:, 0], halves[:, 1], zero)
        found = names.find(asked, np.ones(len(_ADDRESSES), np.bool_), WINDOW)
        uids = clouds["interfaces"]["interface_uid"].to_pylist()
        told = {
            address: uids[row] if row >= 0 else None
            for address, row in zip(_ADDRESSES, found.tolist(), strict=True)
        }
        for address in _ADDRESSES:
            assert told[address] in _expected(account, network, address)


def _expected(account: CloudAccount, network: str | None, address: str) -> set:
    """Who may be at an address: of equal claims any."""
    _, low = split_address(address)
    fitting = [
        row
        for row in account.addresses
        if (low ^ row["address_low"]) >> (128 - row["prefix_length"]) == 0
    ]
    private = {row["network"] for row in fitting} - {""}
    for place in (network, private.pop() if len(private) == 1 else None, ""):
        if place is None:
            continue
        for bits in sorted({row["prefix_length"] for row in fitting}, reverse=True):
            owners = _owners(
                [
                    row
                    for row in fitting
                    if row["network"] == place and row["prefix_length"] == bits
                ]
            )
            if owners:
                return owners
    return {None}


def _owners(rows: list) -> set:
    """Who of those with one range has it for most of the window."""
    rows.sort(key=lambda row: row["from_ns"])
    best: dict[str, int] = {}
    for row in rows:
        later = [
            other["from_ns"] for other in rows if other["from_ns"] > row["from_ns"]
        ]
        until = min([row["until_ns"] or WINDOW.end_ns, WINDOW.end_ns, *later])
        best[row["interface_uid"]] = until - max(row["from_ns"], WINDOW.start_ns)
    most = max(best.values(), default=0)
    return {uid for uid, length in best.items() if length == most > 0}
