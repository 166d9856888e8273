from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.cloud.held import (
    address_key,
    count_ranges,
    facts_of,
    format_range,
    id_within,
    interface_uid,
    is_public,
    pack_ranges,
    pack_starts,
    split_ranges,
    unpack_ranges,
    unpack_starts,
)
from ebpf_net.collectors.cloud.providers import PartKey
from ebpf_net.collectors.cloud.records import Interface, Kind, address_range

_KEY = PartKey("azure", "sub", "")


def test_an_id_with_slashes_is_found_in_its_uid():
    interface = Interface("/subscriptions/sub/nic/1", "westeurope", Kind.OTHER, ())
    uid = interface_uid(_KEY, interface)
    assert uid == "azure/sub/westeurope//subscriptions/sub/nic/1"
    assert id_within(uid) == "/subscriptions/sub/nic/1"


def test_facts_are_equal_for_interfaces_of_one_place():
    first = Interface("1", "r", Kind.CACHE, (), zone="a", name="x")
    second = Interface("2", "r", Kind.CACHE, (), zone="a", name="y")
    assert facts_of(_KEY, first) == facts_of(_KEY, second)
    assert facts_of(_KEY, first).kind == "cache"


def test_ranges_are_packed_once_each_in_order():
    ranges = tuple(
        address_range(text, is_public=text.startswith("203"))
        for text in ("10.0.0.1", "203.0.113.1", "10.0.0.1", "2001:db8::/80")
    )
    packed = pack_ranges(ranges)
    assert count_ranges(packed) == 3
    single = list(split_ranges(packed))
    assert [format_range(one) for one in single] == [
        "10.0.0.1",
        "203.0.113.1",
        "2001:db8::/80",
    ]
    assert [is_public(one) for one in single] == [False, True, False]
    assert address_key("u", single[2]) == "u 2001:db8::/80"


@given(
    st.one_of(
        st.ip_addresses().map(str),
        st.ip_addresses(v=4).map(lambda one: f"{one}/24"),
        st.ip_addresses(v=6).map(lambda one: f"{one}/64"),
    ),
    st.booleans(),
)
def test_a_range_is_read_and_written_alike(text, public):
    found = address_range(text, is_public=public)
    packed = pack_ranges((found,))
    assert list(unpack_ranges(packed)) == [found]
    again = address_range(format_range(packed), is_public=public)
    assert again == found


@given(st.lists(st.integers(0, 2**62)))
def test_starts_are_packed_in_order(starts):
    assert list(unpack_starts(pack_starts(starts))) == starts
