import contextlib
import threading

import pytest
from tests.world.gcp_api import PROJECT, fault, gcp_api, rate_limited

from ebpf_net.collectors.cloud.gcp import make_providers
from ebpf_net.collectors.cloud.pace import CallCounter, CallPace, PaceOptions
from ebpf_net.collectors.cloud.providers import PartFailed, ProviderOptions
from ebpf_net.collectors.cloud.records import Kind, address_range
from ebpf_net.collectors.object_labels import AllowList


@pytest.fixture
def api(tmp_path, monkeypatch):
    with gcp_api(tmp_path) as api:
        for name, value in api.environment.items():
            monkeypatch.setenv(name, value)
        yield api


@pytest.fixture
def project(api):
    return api.project()


@pytest.fixture
def pace():
    return CallPace(
        CallCounter(),
        threading.Event(),
        PaceOptions(tries=3, first_wait_seconds=0.001, longest_distance_seconds=0.01),
    )


@pytest.fixture
def parts(api, pace):
    (provider,) = make_providers(
        ProviderOptions(environment=api.environment, tags=AllowList(["team"]))
    )
    return {part.key.region: part for part in provider.parts(pace)}


def _fetch(part, pace):
    pace.missing.clear()
    found = list(part.fetch(pace))
    by_id = {one.interface_id: one for one in found}
    assert len(by_id) == len(found)
    return by_id


def _seen(part, pace):
    """Return what comes before a fetch ends, well or not."""
    found = []
    with contextlib.suppress(PartFailed):
        found.extend(part.fetch(pace))
    return found


def _private(*texts):
    return tuple(address_range(text, is_public=False) for text in texts)


def _public(*texts):
    return tuple(address_range(text, is_public=True) for text in texts)


def test_an_instance_has_what_the_api_says(project, parts, pace):
    item = project.instance(
        "web-1", "10.128.0.2", "34.1.2.3", labels={"team": "shop", "cost": "7"}
    )
    (found,) = _fetch(parts["instances"], pace).values()
    assert found.interface_id == f"{item['id']}/nic0"
    assert found.instance_id == item["id"]
    assert (found.region, found.zone) == ("us-central1", "us-central1-a")
    assert found.zone_id == "us-central1-a"
    assert found.network == f"{PROJECT}/default"
    assert found.subnet == "apps"
    assert found.instance_type == "e2-small"
    assert found.kind is Kind.INSTANCE
    assert (found.name, found.role) == ("web-1", "")
    assert found.tags == '{"team":"shop"}'
    assert found.addresses == _private("10.128.0.2") + _public("34.1.2.3")
    assert pace.missing == []


def test_all_pages_are_read(api, project, parts, pace):
    for number in range(1201):
        project.instance(f"n{number}", f"10.0.{number >> 8}.{number & 255}")
    assert len(_fetch(parts["instances"], pace)) == 1201
    assert api.calls() == {"instanceGroupManagers": 1, "instances": 3}


def test_roles_are_those_of_groups(project, parts, pace):
    project.add(
        "instanceGroupManagers", "us-central1", "web-group", baseInstanceName="web"
    )
    project.instance("web-x7k2", "10.0.0.1")
    project.instance("web-x7k2", "10.0.0.2", zone="europe-west1-b")
    found = _fetch(parts["instances"], pace).values()
    assert {one.zone: one.role for one in found} == {
        "us-central1-a": "web-group",
        "europe-west1-b": "",
    }


def test_without_groups_only_roles_are_lost(api, project, parts, pace):
    project.add(
        "instanceGroupManagers", "us-central1", "web-group", baseInstanceName="web"
    )
    project.instance("web-x7k2", "10.0.0.1")
    project.permissions.discard("compute.instanceGroupManagers.list")
    assert [one.role for one in _fetch(parts["instances"], pace).values()] == [""]
    assert [one.missing_permission for one in pace.missing] == [
        "compute.instanceGroupManagers.list"
    ]


def test_groups_that_cannot_be_had_now_are_still_known(api, project, parts, pace):
    project.add("instanceGroupManagers", "us-central1-a", "web-g", baseInstanceName="w")
    project.instance("w-x7k2", "10.0.0.1")
    _fetch(parts["instances"], pace)
    api.fail(fault(500, "backendError"), "instanceGroupManagers")
    assert [one.role for one in _fetch(parts["instances"], pace).values()] == ["web-g"]
    assert len(pace.missing) == 1


def test_a_region_that_does_not_answer_leaves_the_names_of_others(project, parts, pace):
    project.add("instanceGroupManagers", "us-central1", "web-g", baseInstanceName="w")
    project.instance("w-x7k2", "10.0.0.1")
    project.add("routers", "us-central1", "edge", nats=[{"name": "way-out"}])
    project.add(
        "addresses",
        "us-central1",
        "fixed",
        address="34.4.4.5",
        users=[project.path("us-central1", "routers", "edge")],
    )
    project.silent = {"europe-west1"}
    assert [one.role for one in _seen(parts["instances"], pace)] == ["web-g"]
    assert [one.role for one in _seen(parts["addresses"], pace)] == ["way-out"]


def test_forwarding_rules_are_load_balancers(project, parts, pace):
    project.add(
        "forwardingRules",
        "us-central1",
        "internal",
        IPAddress="10.128.0.50",
        loadBalancingScheme="INTERNAL",
        network=project.network(),
        backendService=project.path("us-central1", "backendServices", "orders"),
    )
    project.add(
        "forwardingRules",
        "global",
        "front",
        IPAddress="34.9.9.9",
        loadBalancingScheme="EXTERNAL_MANAGED",
    )
    found = _fetch(parts["forwarding-rules"], pace)
    internal = found["forwardingRules/internal"]
    front = found["forwardingRules/front"]
    assert internal.kind is front.kind is Kind.LOAD_BALANCER
    assert (internal.region, front.region) == ("us-central1", "global")
    assert (internal.role, front.role) == ("orders", "front")
    assert internal.network == f"{PROJECT}/default"
    assert internal.addresses == _private("10.128.0.50")
    assert front.addresses == _public("34.9.9.9")


def test_nat_gateways_have_their_names(project, parts, pace):
    router = project.path("us-central1", "routers", "edge")
    project.add(
        "routers",
        "us-central1",
        "edge",
        network=project.network(),
        nats=[{"name": "way-out", "natIpAllocateOption": "AUTO_ONLY"}],
    )
    project.add(
        "addresses",
        "us-central1",
        "nat-auto-ip-1",
        address="34.4.4.4",
        addressType="EXTERNAL",
        purpose="NAT_AUTO",
        users=[router],
    )
    (found,) = _fetch(parts["addresses"], pace).values()
    assert found.kind is Kind.NAT_GATEWAY
    assert (found.name, found.role) == ("way-out", "way-out")
    assert found.network == f"{PROJECT}/default"
    assert found.addresses == _public("34.4.4.4")


def test_without_routers_a_gateway_is_named_by_its_router(project, parts, pace):
    project.permissions.discard("compute.routers.list")
    project.add(
        "addresses",
        "us-central1",
        "fixed",
        address="34.4.4.5",
        addressType="EXTERNAL",
        users=[project.path("us-central1", "routers", "edge")],
    )
    (found,) = _fetch(parts["addresses"], pace).values()
    assert found.name == "edge"
    assert [one.missing_permission for one in pace.missing] == ["compute.routers.list"]


def test_addresses_that_others_tell_of_are_left_to_them(project, parts, pace):
    zone = "us-central1-a"
    users = (
        f"https://www.googleapis.com/compute/v1/projects/p/zones/{zone}/instances/web",
        project.path("us-central1", "forwardingRules", "front"),
    )
    for number, user in enumerate(users):
        project.add(
            "addresses",
            "us-central1",
            f"a{number}",
            address=f"34.4.4.{number}",
            addressType="EXTERNAL",
            users=[user],
        )
    project.add("addresses", "us-central1", "spare", address="34.4.4.9")
    assert _fetch(parts["addresses"], pace) == {}


def test_databases_have_private_and_public_addresses(project, parts, pace):
    network = {"privateNetwork": f"projects/{PROJECT}/global/networks/default"}
    project.database(
        "orders",
        ("34.7.7.7", "PRIMARY"),
        ("34.7.7.8", "OUTGOING"),
        ("10.60.0.3", "PRIVATE"),
        region="us-central1",
        gceZone="us-central1-f",
        settings={
            "tier": "db-custom-2-3840",
            "userLabels": {"team": "shop"},
            "ipConfiguration": network,
        },
    )
    (found,) = _fetch(parts["databases"], pace).values()
    assert found.kind is Kind.DATABASE
    assert (found.name, found.role) == ("orders", "orders")
    assert (found.region, found.zone) == ("us-central1", "us-central1-f")
    assert found.network == f"{PROJECT}/default"
    assert found.tags == '{"team":"shop"}'
    assert found.instance_type == "db-custom-2-3840"
    assert found.addresses == _public("34.7.7.7", "34.7.7.8") + _private("10.60.0.3")


@pytest.mark.parametrize(
    ("kind", "permission"),
    [
        ("instances", "compute.instances.list"),
        ("forwarding-rules", "compute.forwardingRules.list"),
        ("addresses", "compute.addresses.list"),
        ("databases", "cloudsql.instances.list"),
    ],
)
def test_a_missing_permission_costs_one_part_and_is_named(
    project, parts, pace, kind, permission
):
    project.permissions.discard(permission)
    for name, part in parts.items():
        if name != kind:
            _fetch(part, pace)
    with pytest.raises(PartFailed, match="not allowed") as failed:
        _fetch(parts[kind], pace)
    assert failed.value.missing_permission == permission


def test_throttling_slows_a_fetch_and_loses_nothing(api, project, parts, pace):
    project.instance("web-1", "10.128.0.2")
    api.fail(rate_limited(2), "instances")
    assert len(_fetch(parts["instances"], pace)) == 1
    assert api.calls()["instances"] == 3


@pytest.mark.parametrize("kind", ["instances", "forwarding-rules", "databases"])
def test_what_does_not_answer_makes_a_fetch_incomplete(project, parts, pace, kind):
    project.silent = {"us-central1-f", "us-central1"}
    project.instance("web-1", "10.128.0.2")
    project.database("orders", ("10.60.0.3", "PRIVATE"))
    project.add("forwardingRules", "global", "front", IPAddress="34.9.9.9")
    found = []
    with pytest.raises(PartFailed, match="no answer of us-central1"):
        found.extend(parts[kind].fetch(pace))


def test_metadata_is_never_asked_for(api, project, parts, pace):
    project.instance("web-1", "10.128.0.2")
    for part in parts.values():
        _fetch(part, pace)
    assert len(api.urls) == 6
    assert all("fields=" in url and "metadata" not in url for url in api.urls)
