from tests.collectors.cloud.told import materialize

from ebpf_net.collectors.cloud.held import Facts, Held, pack_ranges, pack_starts
from ebpf_net.collectors.cloud.held_tables import (
    AddressTable,
    InterfaceTable,
    address_row,
)
from ebpf_net.collectors.cloud.records import address_range
from ebpf_net.schema import CLOUD_ADDRESSES, CLOUD_INTERFACES

_FACTS = Facts(*[f"the {name}" for name in Facts._fields])


def _held(*addresses):
    ranges = tuple(address_range(one, is_public=False) for one in addresses)
    return Held(_FACTS, "i-1", "x", pack_ranges(ranges), pack_starts([5] * len(ranges)))


def test_tables_have_the_columns_of_the_schema():
    assert list(InterfaceTable({})) == [name for name, _ in CLOUD_INTERFACES]
    assert list(AddressTable({})) == [name for name, _ in CLOUD_ADDRESSES]
    assert len(AddressTable({})) == len(CLOUD_ADDRESSES)


def test_removed_interfaces_come_last():
    rows = materialize(
        {"cloud_interfaces": InterfaceTable({"a/b/c/1": _held()}, {"a/b/c/2": _held()})}
    )["cloud_interfaces"]
    assert [(row["interface_id"], row["removed"]) for row in rows] == [
        ("1", False),
        ("2", True),
    ]
    assert rows[0]["region"] == "the region"


def test_addresses_of_interfaces_come_before_single_ones():
    held = _held("10.0.0.1", "10.0.0.2")
    (packed, gone) = (
        pack_ranges((address_range(one, is_public=True),))
        for one in ("192.0.2.1", "192.0.2.2")
    )
    table = AddressTable(
        {"u": held},
        [address_row("v", held, packed, 6, 7)],
        [address_row("v", held, gone, 8, 9)],
    )
    rows = materialize({"cloud_addresses": table})["cloud_addresses"]
    columns = ("address_key", "network", "from_ns", "until_ns", "removed")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("u 10.0.0.1", "the network", 5, 0, False),
        ("u 10.0.0.2", "the network", 5, 0, False),
        ("v 192.0.2.1", "", 6, 7, False),
        ("v 192.0.2.2", "", 8, 9, True),
    ]


def test_a_table_without_rows_says_so():
    assert not AddressTable({"u": _held()}).has_rows
    assert AddressTable({"u": _held("10.0.0.1")}).has_rows
