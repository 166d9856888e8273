import pytest

from ebpf_net.collectors.cloud.held import unpack_starts
from ebpf_net.collectors.cloud.polls import Holdings, Poll
from ebpf_net.collectors.cloud.providers import PartKey
from ebpf_net.collectors.cloud.records import Interface, Kind, address_range

_KEY = PartKey("aws", "111", "r")


def _interface(uid, *addresses, attached_ns=0):
    ranges = tuple(address_range(one, is_public=False) for one in addresses)
    return Interface(uid, "r", Kind.OTHER, ranges, attached_ns=attached_ns)


def _see(poll, interface):
    return poll.see(interface, lambda facts: facts)


@pytest.fixture
def holdings():
    holdings = Holdings()
    poll = Poll(_KEY, holdings, 100)
    _see(poll, _interface("a", "10.0.0.1", attached_ns=7))
    assert poll.complete() == {}
    return holdings


def test_what_has_not_changed_is_the_same_object(holdings):
    _, before, held = _see(Poll(_KEY, holdings, 200), _interface("a", "10.0.0.1"))
    assert before is held
    assert list(unpack_starts(held.starts)) == [7]


def test_only_new_addresses_begin(holdings):
    poll = Poll(_KEY, holdings, 200)
    _, _, held = _see(poll, _interface("a", "10.0.0.2", "10.0.0.1", attached_ns=150))
    assert list(unpack_starts(held.starts)) == [150, 7]


def test_an_interface_that_comes_twice_is_there_once(holdings):
    poll = Poll(_KEY, holdings, 200)
    for _ in range(2):
        _see(poll, _interface("a", "10.0.0.1"))
    assert poll.complete() == {}
    assert list(holdings.known) == ["aws/111/r/a"]


def test_an_abandoned_poll_keeps_all(holdings):
    poll = Poll(_KEY, holdings, 200)
    _see(poll, _interface("b", "10.0.0.1"))
    assert poll.abandon() == {}
    assert sorted(holdings.known) == ["aws/111/r/a", "aws/111/r/b"]
    assert holdings.polled_ns == 100
    assert list(poll.ended_rows()) == []


def test_an_address_ends_after_it_began(holdings):
    poll = Poll(_KEY, holdings, 5)  # the clock was set back
    assert list(poll.complete()) == ["aws/111/r/a"]
    (row,) = poll.ended_rows()
    assert row[5:7] == (7, 8)
