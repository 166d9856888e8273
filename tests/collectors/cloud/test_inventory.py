import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.collectors.cloud.told import materialize

from ebpf_net.collectors.cloud.inventory import Inventory
from ebpf_net.collectors.cloud.providers import PartKey
from ebpf_net.collectors.cloud.records import Interface, Kind, address_range
from ebpf_net.collectors.table_parts import split_tables
from ebpf_net.schema import REFERENCE_KEYS
from ebpf_net.testing.kernel import TurnedClock

_SECOND_NS = 1_000_000_000
_START_NS = 1_700_000_000 * _SECOND_NS
_EAST = PartKey("aws", "111", "us-east-1")
_WEST = PartKey("aws", "111", "us-west-2")


def _interface(uid, *addresses, public=(), **more):
    ranges = [address_range(one, is_public=False) for one in addresses]
    ranges += [address_range(one, is_public=True) for one in public]
    more.setdefault("network", "vpc-1")
    more.setdefault("region", "us-east-1")
    return Interface(
        interface_id=uid, kind=Kind.INSTANCE, addresses=tuple(ranges), **more
    )


class _World:
    """An inventory, its clock, and what a reducer that hears it knows."""

    def __init__(self, capacity: int = 1000) -> None:
        self.clock = TurnedClock(_START_NS)
        self.inventory = Inventory(self.clock, 60.0, capacity)
        self.known: dict[str, dict[str, dict]] = {}

    def poll(self, *interfaces, part=_EAST, seconds=60, complete=True):
        self.pass_seconds(seconds)
        poll = self.inventory.begin_poll(part)
        for interface in interfaces:
            poll.put(interface)
        if complete:
            poll.complete()
        else:
            poll.abandon()
        return self.clock.wall_ns()

    def pass_seconds(self, seconds):
        self.clock.advance(seconds * _SECOND_NS)

    def changes(self):
        """Return keys of what is told, by table, with - for what is removed."""
        told = materialize(self.inventory.changes())
        for name, rows in told.items():
            known = self.known.setdefault(name, {})
            for row in rows:
                known.pop(_key(name, row), None)
                if not row["removed"]:
                    known[_key(name, row)] = row
        return {
            name: [("-" if row["removed"] else "") + _key(name, row) for row in rows]
            for name, rows in told.items()
        }

    def spans(self):
        """Return addresses and their times, by key."""
        rows = materialize(self.inventory.snapshot()).get("cloud_addresses", [])
        return {
            _key("cloud_addresses", row): (row["from_ns"], row["until_ns"])
            for row in rows
        }


def _key(name, row):
    key = row[REFERENCE_KEYS[name]]
    return key.removeprefix("aws/111/us-east-1/")


@pytest.fixture
def world():
    return _World()


def test_rows_have_what_the_record_has(world):
    interface = Interface(
        interface_id="eni-1",
        region="us-east-1",
        kind=Kind.LOAD_BALANCER,
        addresses=(
            address_range("10.0.0.5", is_public=False),
            address_range("10.0.1.0/28", is_public=False),
            address_range("203.0.113.9", is_public=True),
            address_range("2001:db8::5", is_public=True),
        ),
        zone="us-east-1a",
        zone_id="use1-az4",
        network="vpc-1",
        subnet="subnet-1",
        instance_id="i-1",
        instance_type="m7g.large",
        name="front",
        role="web",
        tags='{"team":"a"}',
        attached_ns=5,
    )
    world.poll(interface)
    tables = materialize(world.inventory.changes())
    uid = "aws/111/us-east-1/eni-1"
    assert tables["cloud_interfaces"] == [
        {
            "interface_uid": uid,
            "provider": "aws",
            "account": "111",
            "region": "us-east-1",
            "zone": "us-east-1a",
            "zone_id": "use1-az4",
            "network": "vpc-1",
            "subnet": "subnet-1",
            "interface_id": "eni-1",
            "instance_id": "i-1",
            "instance_type": "m7g.large",
            "kind": "load_balancer",
            "name": "front",
            "role": "web",
            "tags": '{"team":"a"}',
            "removed": False,
        }
    ]
    mapped = 0xFFFF << 32
    rows = tables["cloud_addresses"]
    assert [(row["address_key"], row["network"]) for row in rows] == [
        (f"{uid} 10.0.0.5", "vpc-1"),
        (f"{uid} 10.0.1.0/28", "vpc-1"),
        (f"{uid} 203.0.113.9", ""),
        (f"{uid} 2001:db8::5", ""),
    ]
    assert [
        (row["address_high"], row["address_low"], row["prefix_length"]) for row in rows
    ] == [
        (0, mapped | 0x0A000005, 128),
        (0, mapped | 0x0A000100, 124),
        (0, mapped | 0xCB007109, 128),
        (0x20010DB8_00000000, 5, 128),
    ]
    assert {(row["from_ns"], row["until_ns"]) for row in rows} == {(5, 0)}
    assert {row["interface_uid"] for row in rows} == {uid}


def test_what_is_as_before_is_not_told_again(world):
    world.poll(_interface("a", "10.0.0.1"), _interface("b", "10.0.0.2"))
    assert world.changes() == {
        "cloud_interfaces": ["a", "b"],
        "cloud_addresses": ["a 10.0.0.1", "b 10.0.0.2"],
    }
    world.poll(_interface("a", "10.0.0.1"), _interface("b", "10.0.0.2"))
    assert world.changes() == {}


def test_only_the_row_that_differs_is_told(world):
    world.poll(_interface("a", "10.0.0.1"), _interface("b", "10.0.0.2"))
    world.changes()
    world.poll(_interface("a", "10.0.0.1", name="x"), _interface("b", "10.0.0.2"))
    assert world.changes() == {"cloud_interfaces": ["a"]}
    world.poll(
        _interface("a", "10.0.0.1", "10.0.0.9", name="x"), _interface("b", "10.0.0.2")
    )
    assert world.changes() == {"cloud_addresses": ["a 10.0.0.9"]}


def test_what_a_whole_poll_does_not_see_ends_and_goes_later(world):
    world.poll(_interface("a", "10.0.0.1", attached_ns=7))
    world.changes()
    now = world.poll()
    assert world.changes() == {"cloud_addresses": ["a 10.0.0.1"]}
    assert world.spans() == {"a 10.0.0.1": (7, now)}
    world.pass_seconds(59)
    assert world.changes() == {}
    world.pass_seconds(1)
    assert world.changes() == {
        "cloud_interfaces": ["-a"],
        "cloud_addresses": ["-a 10.0.0.1"],
    }
    assert world.spans() == {}


def test_a_poll_that_breaks_off_ends_nothing(world):
    world.poll(_interface("a", "10.0.0.1"), _interface("b", "10.0.0.2"))
    world.changes()
    world.poll(_interface("a", "10.0.0.1", name="x"), complete=False)
    assert world.changes() == {"cloud_interfaces": ["a"]}
    world.poll(_interface("a", "10.0.0.1", name="x"), _interface("b", "10.0.0.2"))
    assert world.changes() == {}


def test_a_poll_of_one_part_ends_nothing_of_another(world):
    world.poll(_interface("a", "10.0.0.1"))
    world.poll(_interface("b", "10.0.0.2", region="us-west-2"), part=_WEST)
    world.changes()
    world.poll(_interface("a", "10.0.0.1"))
    assert world.changes() == {}


def test_a_part_that_is_no_more_ends_with_all_it_has(world):
    world.poll(_interface("a", "10.0.0.1"))
    world.poll(_interface("b", "10.0.0.2", region="us-west-2"), part=_WEST)
    world.changes()
    world.inventory.drop_part(_EAST)
    assert world.changes() == {"cloud_addresses": ["a 10.0.0.1"]}
    world.pass_seconds(60)
    assert world.changes()["cloud_interfaces"] == ["-a"]


def test_an_address_that_moves_ends_and_begins_at_the_poll_that_saw_it(world):
    world.poll(_interface("a", "10.0.0.1", "10.0.0.9"), _interface("b", "10.0.0.2"))
    world.changes()
    now = world.poll(
        _interface("b", "10.0.0.2", "10.0.0.9"), _interface("a", "10.0.0.1")
    )
    assert world.spans() == {
        "a 10.0.0.1": (0, 0),
        "a 10.0.0.9": (0, now),
        "b 10.0.0.2": (0, 0),
        "b 10.0.0.9": (now, 0),
    }
    assert sorted(world.changes()["cloud_addresses"]) == ["a 10.0.0.9", "b 10.0.0.9"]


def test_an_address_begins_when_its_interface_was_attached_and_ends_elsewhere(world):
    start = world.poll(_interface("a", "10.0.0.1"), _interface("old", "10.0.0.9"))
    attached = start + 20 * _SECOND_NS
    world.poll(
        _interface("a", "10.0.0.1"),
        _interface("new", "10.0.0.9", attached_ns=attached),
    )
    spans = world.spans()
    assert spans["new 10.0.0.9"] == (attached, 0)
    assert spans["old 10.0.0.9"] == (0, attached)


def test_an_attachment_before_the_last_poll_does_not_reach_back(world):
    start = world.poll(_interface("a", "10.0.0.1", attached_ns=3))
    now = world.poll(_interface("a", "10.0.0.1", "10.0.0.2", attached_ns=3))
    later = now + 5 * _SECOND_NS  # by a clock that is ahead
    world.poll(
        _interface("a", "10.0.0.1", "10.0.0.2", attached_ns=3),
        _interface("b", "10.0.0.3", attached_ns=start - 1),
        _interface("c", "10.0.0.4", attached_ns=later + 3600 * _SECOND_NS),
    )
    spans = world.spans()
    assert spans["a 10.0.0.1"] == (3, 0)
    assert spans["a 10.0.0.2"] == (now, 0)
    assert spans["b 10.0.0.3"] == (world.clock.wall_ns(), 0)
    assert spans["c 10.0.0.4"] == (world.clock.wall_ns(), 0)


def test_equal_addresses_of_two_networks_do_not_end_each_other(world):
    start = world.poll(
        _interface("a", "10.0.0.1"), _interface("x", "10.9.9.9", network="vpc-2")
    )
    attached = start + _SECOND_NS
    now = world.poll(
        _interface("x", "10.9.9.9", network="vpc-2"),
        _interface("y", "10.0.0.1", network="vpc-2", attached_ns=attached),
    )
    assert world.spans()["a 10.0.0.1"] == (0, now)


def test_a_public_address_moves_between_networks(world):
    start = world.poll(_interface("a", "10.0.0.1", public=["203.0.113.1"]))
    attached = start + _SECOND_NS
    world.poll(
        _interface("a", "10.0.0.1"),
        _interface("b", public=["203.0.113.1"], network="vpc-2", attached_ns=attached),
    )
    assert world.spans()["a 203.0.113.1"] == (0, attached)


def test_what_is_back_begins_anew(world):
    world.poll(_interface("a", "10.0.0.1"))
    world.poll()
    world.changes()
    now = world.poll(_interface("a", "10.0.0.1"), seconds=30)
    assert world.changes() == {
        "cloud_interfaces": ["a"],
        "cloud_addresses": ["a 10.0.0.1"],
    }
    assert world.spans() == {"a 10.0.0.1": (now, 0)}
    world.pass_seconds(600)
    assert world.changes() == {}


def test_what_came_and_went_between_two_windows_is_told(world):
    world.poll(_interface("a", "10.0.0.1"))
    world.changes()
    came = world.poll(_interface("a", "10.0.0.1"), _interface("b", "10.0.0.2"))
    went = world.poll(_interface("a", "10.0.0.1"))
    assert world.changes() == {
        "cloud_interfaces": ["b"],
        "cloud_addresses": ["b 10.0.0.2"],
    }
    assert world.spans()["b 10.0.0.2"] == (came, went)


def test_too_much_that_ended_goes_at_once():
    world = _World(capacity=2)
    world.poll(_interface("a", "10.0.0.1"), _interface("b", "10.0.0.2"))
    world.changes()
    world.poll()
    assert world.changes() == {
        "cloud_addresses": ["-a 10.0.0.1", "-b 10.0.0.2"],
    }
    assert world.inventory.status()["cloud.ending"] == 2


def test_accounts_are_told_when_they_are_named(world):
    world.inventory.name_account("aws", "111", "production")
    assert materialize(world.inventory.changes()) == {
        "cloud_accounts": [
            {
                "account_key": "aws/111",
                "provider": "aws",
                "account": "111",
                "name": "production",
                "removed": False,
            }
        ]
    }
    world.inventory.name_account("aws", "111", "production")
    assert world.inventory.changes() == {}
    world.inventory.forget_account("aws", "111")
    (row,) = materialize(world.inventory.changes())["cloud_accounts"]
    assert row["removed"]


def test_all_is_told_again_when_it_is_restated(world):
    world.inventory.name_account("aws", "111", "")
    world.poll(_interface("a", "10.0.0.1"), _interface("b", "10.0.0.2"))
    world.poll(_interface("a", "10.0.0.1"))
    world.changes()
    world.inventory.restate()
    assert materialize(world.inventory.changes()) == materialize(
        world.inventory.snapshot()
    )
    assert world.inventory.changes() == {}


def test_what_has_gone_is_told_when_all_is_restated(world):
    world.poll(_interface("a", "10.0.0.1"), _interface("b", "10.0.0.2"))
    world.poll(_interface("a", "10.0.0.1"))
    world.changes()
    world.pass_seconds(60)
    world.inventory.restate()
    assert world.changes() == {
        "cloud_interfaces": ["a", "-b"],
        "cloud_addresses": ["a 10.0.0.1", "-b 10.0.0.2"],
    }


def test_what_a_snapshot_had_no_room_for_is_told_with_the_next_window(world):
    world.inventory.name_account("aws", "111", "")
    names = [f"i{number}" for number in range(40)]
    world.poll(*[_interface(name, f"10.0.0.{name[1:]}") for name in names])
    world.poll(*[_interface(name, f"10.0.0.{name[1:]}") for name in names[1:]])
    world.inventory.forget_changes()
    first, *rest = split_tables(world.inventory.snapshot(), max_bytes=2000)
    world.inventory.tell_again(rest)
    told = [materialize(first), materialize(world.inventory.changes())]
    rows = {
        name: sorted(str(row) for part in told for row in part.get(name, []))
        for name in ("cloud_interfaces", "cloud_addresses")
    }
    whole = materialize(world.inventory.snapshot())
    assert rows == {name: sorted(map(str, whole[name])) for name in rows}


def test_long_texts_are_cut(world):
    world.poll(_interface("a", "10.0.0.1", name="n" * 70_000, role="r" * 70_000))
    (row,) = materialize(world.inventory.changes())["cloud_interfaces"]
    assert len(row["name"]) == 4096
    assert len(row["role"]) == 4096


def test_status_counts_rows(world):
    world.inventory.name_account("aws", "111", "")
    world.poll(_interface("a", "10.0.0.1", "10.0.0.2"), _interface("b", "10.0.0.3"))
    world.poll(_interface("a", "10.0.0.1", "10.0.0.2"))
    assert world.inventory.status() == {
        "cloud.rows.accounts": 1,
        "cloud.rows.interfaces": 2,
        "cloud.rows.addresses": 3,
        "cloud.ending": 2,
    }


_POLLS = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from("abc"),
            st.frozensets(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"])),
        ),
        st.booleans(),  # whole
        st.booleans(),  # told thereafter
        st.sampled_from([1, 30, 61]),
    ),
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(_POLLS)
def test_who_hears_all_changes_knows_what_a_snapshot_says(polls):
    world = _World(capacity=4)
    for seen, whole, told, seconds in polls:
        interfaces = [_interface(name, *sorted(has)) for name, has in seen.items()]
        world.poll(*interfaces, complete=whole, seconds=seconds)
        if told:
            world.changes()
    world.changes()
    whole_rows = materialize(world.inventory.snapshot())
    for name in ("cloud_interfaces", "cloud_addresses"):
        rows = {_key(name, row): row for row in whole_rows.get(name, [])}
        assert len(rows) == len(whole_rows.get(name, []))
        assert world.known.get(name, {}) == rows
