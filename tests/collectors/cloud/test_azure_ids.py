from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.cloud.azure_ids import (
    group_of,
    last_name,
    names_within,
    network_of,
    short_id,
    type_of,
)

_NIC = (
    "/subscriptions/S/resourceGroups/Shop/providers/Microsoft.Compute/"
    "virtualMachineScaleSets/Workers/virtualMachines/4/networkInterfaces/nic"
)


def test_ids_are_the_same_in_all_spellings():
    expected = "shop/virtualmachinescalesets/workers/virtualmachines/4/"
    assert (
        short_id(_NIC) == short_id(_NIC.upper()) == f"{expected}networkinterfaces/nic"
    )
    assert short_id("/providers/X/y/z") == "providers/x/y/z"
    assert short_id("") == ""


def test_names_are_found_by_their_types():
    names = names_within(_NIC)
    assert names["virtualmachinescalesets"] == "Workers"
    assert names["virtualmachines"] == "4"
    assert group_of(_NIC) == "Shop"
    assert last_name(_NIC) == "nic"
    assert type_of(_NIC) == "microsoft.compute/virtualmachinescalesets"
    assert type_of("alias.1234.westeurope.azure.privatelinkservice") == ""


def test_a_network_is_what_a_subnet_is_within():
    network = "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/"
    network += "virtualNetworks/Net"
    assert network_of(f"{network}/subnets/inner") == network.lower()
    assert network_of("") == ""


@given(st.text())
def test_any_text_is_taken(text):
    for read in (short_id, names_within, group_of, last_name, type_of, network_of):
        read(text)
