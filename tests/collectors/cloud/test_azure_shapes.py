import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.cloud.azure_shapes import (
    Machine,
    Place,
    only_zone,
    place_of,
    read_application_gateway,
    read_interface,
    read_load_balancer,
    read_machine,
    read_nat_gateway,
    read_public_address,
)
from ebpf_net.collectors.cloud.records import Kind
from ebpf_net.collectors.object_labels import AllowList


class _Lookup:
    """Knows one of each."""

    allowed = AllowList(("*",))

    def public_address(self, resource_id):
        return {"/pub": "20.0.0.1", "/odd": "no address"}.get(resource_id, "")

    def public_prefix(self, resource_id):
        return {"/pre": "20.0.0.0/28"}.get(resource_id, "")

    def zone_id(self, region, zone):
        return f"{region}-az{zone}"


_LOOKUP = _Lookup()
_NULLS = {"id": "/x", "name": None, "location": None, "tags": None, "zones": None}
_READERS = [
    read_load_balancer,
    read_application_gateway,
    read_nat_gateway,
    read_public_address,
]

_leaf = st.none() | st.just("") | st.sampled_from(["10.0.0.1", "x"])
_reference = st.none() | st.fixed_dictionaries({}, optional={"id": _leaf})
_configurations = st.none() | st.lists(
    st.fixed_dictionaries(
        {"id": st.text()},
        optional={
            "zones": st.none() | st.lists(st.just("1")),
            "properties": st.none()
            | st.fixed_dictionaries(
                {},
                optional={
                    "privateIPAddress": _leaf,
                    "privateIPAddressPrefixLength": st.none() | st.integers(),
                    "publicIPAddress": _reference,
                    "publicIPPrefix": _reference,
                    "subnet": _reference,
                },
            ),
        },
    ),
    max_size=3,
)
_items = st.fixed_dictionaries(
    {"id": st.text()},
    optional={
        "properties": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "ipConfigurations": _configurations,
                "frontendIPConfigurations": _configurations,
                "gatewayIPConfigurations": _configurations,
                "virtualMachineScaleSet": _reference,
                "privateEndpoint": _reference,
                "privateLinkService": _reference,
                "hardwareProfile": st.none() | st.just({}),
                "publicIpAddresses": st.none() | st.lists(st.just({"id": "/pub"})),
                "publicIpPrefixes": st.none() | st.lists(st.just({})),
                "ipConfiguration": _reference,
                "ipAddress": _leaf,
            },
        ),
        "tags": st.none() | st.dictionaries(st.text(), st.text(), max_size=2),
        "location": st.none() | st.just("West Europe"),
    },
)


def test_places_are_called_as_kubernetes_calls_them():
    assert place_of("West Europe", "", _LOOKUP) == Place("westeurope")
    assert place_of("westeurope", "2", _LOOKUP) == (
        "westeurope",
        "westeurope-2",
        "westeurope-az2",
    )


@pytest.mark.parametrize("zones", [None, [], ["1", "2"], "1"])
def test_what_is_in_several_zones_is_in_none(zones):
    assert only_zone(zones) == ""
    assert only_zone(["3"]) == "3"


def test_what_is_null_is_not_there():
    assert read_machine(_NULLS, AllowList()) == Machine()
    found = read_interface(_NULLS | {"properties": None}, None, None, _LOOKUP)
    assert (found.kind, found.addresses, found.name) == (Kind.OTHER, (), "x")
    for read in _READERS:
        assert all(one.addresses == () for one in read(_NULLS, _LOOKUP))


def test_what_is_no_address_is_left_out():
    configurations = [
        {"properties": {"privateIPAddress": "x", "publicIPAddress": {"id": "/odd"}}},
        {"properties": {"privateIPAddress": "10.0.0.1"}},
    ]
    item = {"id": "/x", "properties": {"ipConfigurations": configurations}}
    assert len(read_interface(item, None, None, _LOOKUP).addresses) == 1


@given(_items)
def test_whatever_there_is_becomes_a_record(item):
    machine = read_machine(item, AllowList())
    for one in (machine, None):
        assert read_interface(item, one, None, _LOOKUP).interface_id is not None
    for read in _READERS:
        list(read(item, _LOOKUP))
