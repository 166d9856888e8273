import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.world.metadata_service import Gcp, metadata_server

from ebpf_net.collectors.kernel.instance_metadata_facts import (
    Instance,
    InstanceAddress,
)
from ebpf_net.collectors.kernel.instance_metadata_gcp import (
    GcpSource,
    parse_interfaces,
)
from ebpf_net.collectors.kernel.instance_metadata_service import (
    MetadataError,
    MetadataService,
    Outcome,
    OutcomeCounts,
)

SECOND_NS = 1_000_000_000
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.fixture
def gcp():
    return Gcp()


@pytest.fixture
def server(gcp):
    with metadata_server(gcp) as server:
        yield server


@pytest.fixture
def counts():
    return OutcomeCounts()


@pytest.fixture
def source(server, counts):
    return GcpSource(MetadataService(("127.0.0.1",), 5.0, counts, server.port))


def test_an_instance_knows_itself(source):
    assert source.instance() == Instance(
        provider="gcp",
        instance_id="4520031799277581759",
        account="shop-prod",
        region="europe-west4",
        zone="europe-west4-b",
        zone_id="europe-west4-b",
        instance_type="e2-standard-4",
        name="web-1",
        lifecycle="spot",
    )


def test_addresses_of_all_interfaces_without_what_a_balancer_or_pods_have(source):
    source.instance()
    own = {"network": "shop-prod/default"}
    assert source.addresses() == [
        InstanceAddress("nic0", "10.164.0.5", "203.0.113.7", **own),
        InstanceAddress("nic0", "10.164.0.9", "", **own),
        InstanceAddress("nic0", "2001:db8:2::5", "", **own),
        InstanceAddress("nic1", "192.168.4.5", "", network="515151515151/shared"),
    ]


def test_secrets_are_not_asked_for(source, server):
    source.instance()
    source.addresses()
    source.termination_ns(0)
    asked = " ".join(server.asked)
    assert "attributes" not in asked
    assert "service-accounts" not in asked
    assert "/instance/?" not in asked


def test_one_that_is_not_preemptible_is_on_demand(gcp, source, server):
    gcp.values["instance/scheduling/preemptible"] = "FALSE"
    assert source.instance().lifecycle == "on-demand"
    assert source.termination_ns(0) == 0
    assert not any("preempted" in path for path in server.asked)


def test_a_preemption_ends_it_half_a_minute_after_it_was_seen(gcp, source):
    source.instance()
    assert source.termination_ns(0) == 0
    gcp.values["instance/preempted"] = "TRUE"
    assert source.termination_ns(100 * SECOND_NS) == 130 * SECOND_NS
    assert source.termination_ns(105 * SECOND_NS) == 130 * SECOND_NS
    gcp.values["instance/preempted"] = "FALSE"
    assert source.termination_ns(110 * SECOND_NS) == 0


def test_maintenance_that_stops_it_does_and_a_migration_does_not(gcp, source):
    source.instance()
    gcp.values["instance/maintenance-event"] = "MIGRATE_ON_HOST_MAINTENANCE"
    assert source.termination_ns(100 * SECOND_NS) == 0
    gcp.values["instance/maintenance-event"] = "TERMINATE_ON_HOST_MAINTENANCE"
    assert source.termination_ns(100 * SECOND_NS) == 160 * SECOND_NS


def test_who_does_not_say_that_he_is_google_is_not_believed(gcp, source, counts):
    gcp.is_google = False
    with pytest.raises(MetadataError, match="not Google's"):
        source.instance()
    assert counts[Outcome.GARBAGE] == 1


@pytest.mark.parametrize("value", ["", "a\nb", "\x00"])
def test_an_id_that_is_none_is_counted(gcp, source, counts, value):
    gcp.values["instance/id"] = value
    with pytest.raises(MetadataError, match="makes no sense"):
        source.instance()
    assert counts[Outcome.GARBAGE] == 1


def test_a_service_that_hides_most_still_tells_who_it_is(gcp, source):
    gcp.values = {"instance/id": "5"}
    found = source.instance()
    assert found == Instance("gcp", "5", lifecycle="on-demand")
    assert source.addresses() == []


@given(json_values)
def test_interfaces_of_any_shape_are_read(value):
    parse_interfaces(value, "p", "1")
    parse_interfaces([value], "p", "1")
    parse_interfaces([{"accessConfigs": value, "ipAliases": value}], "p", "1")
