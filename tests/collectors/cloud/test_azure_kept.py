import threading

import pytest
from tests.collectors.cloud.azure_parts import quick_pace

from ebpf_net.collectors.cloud.azure_kept import Kept
from ebpf_net.collectors.cloud.providers import PartFailed


class _Listing:
    """Counts; fails if it has a failure."""

    def __init__(self):
        self.made = 0
        self.failure = None
        self.may_end = threading.Event()
        self.may_end.set()
        self.has_begun = threading.Event()

    def __call__(self, budget, last):
        self.has_begun.set()
        self.may_end.wait(10)
        if self.failure is not None:
            raise self.failure
        self.made += 1
        return self.made


@pytest.fixture
def listing():
    return _Listing()


@pytest.fixture
def pace():
    return quick_pace()


def test_a_listing_serves_for_its_time(listing, pace):
    kept = Kept(0, 60.0, listing)
    assert [kept.get(pace) for _ in range(3)] == [1, 1, 1]
    assert kept.get(pace, 60.0) == 1
    assert kept.get(pace, 0.0) == 2


def test_the_last_listing_serves_while_there_is_no_new_one(listing, pace):
    kept = Kept(0, 0.0, listing)
    assert kept.get(pace) == 1
    listing.failure = PartFailed("not now")
    for _ in range(2):
        assert kept.get(pace) == 1
    assert kept.is_lacking
    assert pace.missing == [listing.failure] * 2
    with pytest.raises(PartFailed, match="not now"):
        kept.require(pace)


def test_what_failed_is_tried_again_after_a_while(listing, pace, monkeypatch):
    kept = Kept(0, 0.0, listing)
    listing.failure = PartFailed("not now")
    assert kept.get(pace) == 0
    listing.failure = None
    assert kept.get(pace) == 0
    monkeypatch.setattr(kept, "_not_before", kept._not_before - 31)
    assert kept.get(pace) == 1
    assert not kept.is_lacking


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (PartFailed("x"), 30),
        (PartFailed("x", "a/b/read"), 600),
        (PartFailed("x", retry_after_seconds=99), 99),
    ],
)
def test_how_soon_depends_on_the_failure(listing, pace, monkeypatch, failure, seconds):
    kept = Kept(0, 600.0, listing)
    listing.failure = failure
    kept.get(pace)
    listing.failure = None
    monkeypatch.setattr(kept, "_not_before", kept._not_before - seconds + 5)
    assert kept.get(pace) == 0
    monkeypatch.setattr(kept, "_not_before", kept._not_before - 6)
    assert kept.get(pace) == 1


def test_while_one_lists_others_take_the_last(listing, pace):
    kept = Kept(0, 0.0, listing)
    kept.get(pace)
    listing.may_end.clear()
    listing.has_begun.clear()
    other = threading.Thread(target=kept.get, args=(quick_pace(),))
    other.start()
    assert listing.has_begun.wait(10)
    assert kept.get(pace) == 1
    listing.may_end.set()
    other.join(10)
    assert listing.made == 2


def test_the_first_listing_is_waited_for(listing, pace):
    kept = Kept(0, 60.0, listing)
    listing.may_end.clear()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(kept.get(quick_pace())))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert listing.has_begun.wait(10)
    assert found == []
    listing.may_end.set()
    for thread in threads:
        thread.join(10)
    assert found == [1, 1, 1]
