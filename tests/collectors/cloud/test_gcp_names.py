import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.cloud.gcp_names import (
    InstanceGroups,
    last_of,
    network_of,
    region_of,
    role_of_description,
    role_of_labels,
    router_of,
)

_BASE = "https://www.googleapis.com/compute/v1/projects"


def test_paths_have_names():
    assert last_of(f"{_BASE}/p/zones/us-central1-a") == "us-central1-a"
    assert last_of(None) == ""
    assert region_of("us-central1-a") == "us-central1"


@pytest.mark.parametrize(
    ("path", "network"),
    [
        (f"{_BASE}/host-project/global/networks/shared", "host-project/shared"),
        ("projects/p/global/networks/default", "p/default"),
        ("projects/example.com:p/global/networks/n", "example.com:p/n"),
        ("default", ""),
        (None, ""),
    ],
)
def test_a_network_is_that_of_its_own_project(path, network):
    assert network_of(path) == network


def test_a_router_is_told_from_other_users():
    assert router_of(f"{_BASE}/p/regions/us-east1/routers/edge") == ("us-east1", "edge")
    assert router_of(f"{_BASE}/p/regions/us-east1/forwardingRules/r") is None


@pytest.mark.parametrize(
    ("labels", "role"),
    [
        (
            {"goog-k8s-cluster-name": "main", "goog-k8s-node-pool-name": "big"},
            "main/big",
        ),
        ({"goog-k8s-node-pool-name": "big"}, "big"),
        ({"goog-dataproc-cluster-name": "crunch"}, "crunch"),
        ({"team": "shop"}, ""),
    ],
)
def test_labels_of_services_are_roles(labels, role):
    assert role_of_labels(labels) == role


@pytest.mark.parametrize(
    ("description", "role"),
    [
        ('{"kubernetes.io/service-name":"shop/front"}', "shop/front"),
        ('{"networking.gke.io/service-name":"shop/in"}', "shop/in"),
        ('{"kubernetes.io/ingress-name": "shop/web"}', "shop/web"),
        ('{"kubernetes.io/service-name":5}', ""),
        ("{not so", ""),
        ("the front door", ""),
    ],
)
def test_what_kubernetes_made_says_for_whom(description, role):
    assert role_of_description(description) == role


@given(st.text().map(lambda text: "{" + text))
def test_any_description_is_none_or_a_name(description):
    assert isinstance(role_of_description(description), str)


@pytest.fixture
def groups():
    found = InstanceGroups()
    found.add("us-central1-a", {"name": "web-group", "baseInstanceName": "web"})
    found.add("us-central1", {"name": "api", "baseInstanceName": "api-v2"})
    found.add("us-central1-b", {"name": "vms", "baseInstanceName": "vm-###"})
    found.add("us-central1-c", {"name": "plain"})
    return found


@pytest.mark.parametrize(
    ("zone", "instance", "group"),
    [
        ("us-central1-a", "web-x7k2", "web-group"),
        ("us-central1-b", "web-x7k2", ""),
        ("us-central1-f", "api-v2-0abc", "api"),
        ("europe-west1-b", "api-v2-0abc", ""),
        ("us-central1-a", "web-server", ""),
        ("us-central1-a", "web", ""),
        ("us-central1-b", "vm-001", "vms"),
        ("us-central1-b", "vm-abcd", ""),
        ("us-central1-a", "web-1", ""),
        ("us-central1-c", "plain-9zzz", "plain"),
    ],
)
def test_instances_belong_to_the_group_whose_names_they_have(
    groups, zone, instance, group
):
    assert groups.group_of(zone, instance) == group
