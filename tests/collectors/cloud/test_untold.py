from tests.collectors.cloud.told import materialize

from ebpf_net.collectors.cloud.held import Facts, Held, pack_ranges, pack_starts
from ebpf_net.collectors.cloud.held_tables import address_row
from ebpf_net.collectors.cloud.records import address_range
from ebpf_net.collectors.cloud.untold import Ended, Untold, all_tables
from ebpf_net.testing.kernel import TurnedClock

_FACTS = Facts(*Facts._fields)
_RANGE = pack_ranges((address_range("10.0.0.1", is_public=False),))
_HELD = Held(_FACTS, "", "", _RANGE, pack_starts([5]))


def _told(untold):
    return [
        (row["address_key"], row["until_ns"], row["removed"])
        for row in materialize(untold.tables()).get("cloud_addresses", [])
    ]


def test_what_is_back_before_its_end_was_told_has_not_ended():
    untold = Untold()
    untold.put_address(address_row("a/b/c/u", _HELD, _RANGE, 5, 9))
    untold.put_new("a/b/c/u", _HELD)
    assert _told(untold) == [("a/b/c/u 10.0.0.1", 0, False)]


def test_what_is_back_before_its_removal_was_told_is_not_removed():
    untold = Untold()
    untold.remove_address(
        "a/b/c/u 10.0.0.1", address_row("a/b/c/u", _HELD, _RANGE, 5, 9)
    )
    untold.put_new("a/b/c/u", _HELD)
    assert _told(untold) == [("a/b/c/u 10.0.0.1", 0, False)]


def test_ends_are_kept_for_their_time():
    clock = TurnedClock(1)
    untold, ended = Untold(), Ended(clock, 60, 10)
    ended.end_interface("a/b/c/u", _HELD, untold)
    ended.end_address(address_row("a/b/c/u", _HELD, _RANGE, 5, 9), untold)
    assert _told(untold) == [("a/b/c/u 10.0.0.1", 9, False)]
    assert [*materialize(all_tables({}, ended))] == [
        "cloud_interfaces",
        "cloud_addresses",
    ]
    clock.advance(60_000_000_000)
    ended.settle(untold)
    assert _told(untold) == [("a/b/c/u 10.0.0.1", 9, True)]
    assert materialize(all_tables({}, ended)) == {}


def test_what_is_revived_has_no_end():
    untold, ended = Untold(), Ended(TurnedClock(1), 60, 10)
    ended.end_interface("a/b/c/u", _HELD, untold)
    ended.end_address(address_row("a/b/c/u", _HELD, _RANGE, 5, 9), untold)
    ended.revive("a/b/c/u", ["a/b/c/u 10.0.0.1"])
    assert len(ended) == 0
    assert materialize(all_tables({}, ended)) == {}
