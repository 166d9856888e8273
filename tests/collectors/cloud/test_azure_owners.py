import pytest

from ebpf_net.collectors.cloud.azure_owners import (
    Target,
    cluster_of,
    owner_of_public,
    read_target,
    role_of,
)
from ebpf_net.collectors.cloud.records import Kind

_PLAIN = "/subscriptions/s/resourceGroups/shop/providers/Microsoft.Compute/x/y"


def _node(group):
    return f"/subscriptions/s/resourceGroups/{group}/providers/Microsoft.Compute/x/y"


@pytest.mark.parametrize(
    ("resource", "tags", "role"),
    [
        (_PLAIN, {}, "set"),
        (_PLAIN, {"aks-managed-cluster-name": "c", "aks-managed-poolName": "p"}, "c/p"),
        (_PLAIN, {"AKS-Managed-Cluster-Name": "c"}, "c/set"),
        (_PLAIN, {"aks-managed-poolName": "p"}, "p"),
        (
            _PLAIN,
            {"karpenter.azure.com_cluster": "c", "karpenter.sh_nodepool": "general"},
            "c/general",
        ),
        (_node("MC_my_group_Shop_westeurope"), {}, "shop/set"),
        (_node("mc_g_shop_westeurope"), {"aks-managed-poolName": "p"}, "shop/p"),
        (_node("MC_other"), {}, "set"),
    ],
)
def test_roles_are_of_clusters_where_there_are_some(resource, tags, role):
    assert role_of(resource, tags, "set") == role


def test_a_cluster_without_anything_else_is_the_role():
    assert role_of(_node("MC_g_shop_westeurope"), {}, "") == "shop"
    assert cluster_of(_PLAIN, {}) == ""


def test_a_target_may_be_reached_with_consent():
    connection = {"properties": {"privateLinkServiceId": "/x/providers/A.B/c/d"}}
    endpoint = {
        "properties": {
            "privateLinkServiceConnections": [],
            "manualPrivateLinkServiceConnections": [connection],
        }
    }
    assert read_target(endpoint) == Target(Kind.VPC_ENDPOINT, "d")


@pytest.mark.parametrize("endpoint", [{}, {"properties": None}])
def test_an_endpoint_may_lead_nowhere(endpoint):
    assert read_target(endpoint) == Target(Kind.VPC_ENDPOINT, "")


def test_addresses_of_nobody_have_no_owner():
    assert owner_of_public({}) is None
    assert owner_of_public({"ipConfiguration": {"id": ""}}) is None
