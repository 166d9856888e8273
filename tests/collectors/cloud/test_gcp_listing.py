import threading

import pytest
from tests.world.gcp_api import PROJECT, gcp_api, rate_limited

from ebpf_net.collectors.cloud import gcp_listing
from ebpf_net.collectors.cloud.gcp_listing import Lister, Listing
from ebpf_net.collectors.cloud.gcp_session import GcpSession
from ebpf_net.collectors.cloud.pace import CallCounter, CallPace, PaceOptions
from ebpf_net.collectors.cloud.providers import PartFailed, ProviderOptions

_NAMES = Listing("instances", "name")


@pytest.fixture
def api(tmp_path, monkeypatch):
    with gcp_api(tmp_path) as api:
        for name, value in api.environment.items():
            monkeypatch.setenv(name, value)
        yield api


@pytest.fixture
def counter():
    return CallCounter()


@pytest.fixture
def pace(counter):
    options = PaceOptions(
        tries=3, first_wait_seconds=0.001, longest_distance_seconds=0.01
    )
    return CallPace(counter, threading.Event(), options)


@pytest.fixture
def lister(api):
    options = ProviderOptions(environment=api.environment, timeout_seconds=5)
    return Lister(GcpSession(options), PROJECT)


def test_items_come_with_their_zones_and_what_was_asked_for(api, lister, pace):
    api.project().instance("a", "10.0.0.2", zone="us-central1-f")
    api.project().instance("b", "10.0.0.3", zone="europe-west1-b")
    assert sorted(lister.scoped_items(pace, _NAMES)) == [
        ("europe-west1-b", {"name": "b"}),
        ("us-central1-f", {"name": "a"}),
    ]


def test_an_item_is_in_one_page_only(api, lister, pace, counter, monkeypatch):
    monkeypatch.setattr(gcp_listing, "PAGE_ITEMS", 3)
    names = [f"n{number}" for number in range(10)]
    for number, name in enumerate(names):
        api.project().instance(name, f"10.0.0.{number}", zone="us-central1-a")
    found = [item["name"] for _, item in lister.scoped_items(pace, _NAMES)]
    assert found == names
    assert api.calls() == {"instances": 4}
    assert counter.calls == 4


def test_databases_come_in_pages(api, lister, pace, monkeypatch):
    monkeypatch.setattr(gcp_listing, "PAGE_ITEMS", 2)
    for number in range(5):
        api.project().database(f"d{number}")
    found = [item["name"] for item in lister.databases(pace, "name")]
    assert found == ["d0", "d1", "d2", "d3", "d4"]


def test_a_page_in_the_middle_that_is_throttled_is_read_once(
    api, lister, pace, counter, monkeypatch
):
    monkeypatch.setattr(gcp_listing, "PAGE_ITEMS", 2)
    for number in range(6):
        api.project().instance(f"n{number}", f"10.0.0.{number}")
    items = lister.scoped_items(pace, _NAMES)
    found = [next(items), next(items)]
    api.fail(rate_limited(2), "instances")
    found += items
    assert [item["name"] for _, item in found] == [f"n{n}" for n in range(6)]
    assert counter.throttled == 2
    assert api.calls() == {"instances": 5}


def test_who_asks_for_a_long_wait_is_left_alone_for_it(api, lister, pace):
    api.fail(rate_limited(1, **{"Retry-After": "120"}))
    with pytest.raises(PartFailed) as failed:
        list(lister.scoped_items(pace, _NAMES))
    assert failed.value.retry_after_seconds == 120


def test_all_there_is_comes_before_what_did_not_answer_is_told(api, lister, pace):
    project = api.project()
    project.instance("a", "10.0.0.2", zone="us-central1-f")
    project.instance("b", "10.0.0.3", zone="europe-west1-b")
    project.silent = {"us-central1-f"}
    found = []
    with pytest.raises(
        PartFailed, match=r"instances\.aggregatedList: no answer of us-central1-f"
    ):
        found.extend(item["name"] for _, item in lister.scoped_items(pace, _NAMES))
    assert found == ["b"]


def test_many_that_do_not_answer_are_counted(api, lister, pace):
    api.project().silent = {f"z{number}" for number in range(9)}
    with pytest.raises(PartFailed, match="z0, z1, z2, z3, z4 and 4 more"):
        list(lister.databases(pace, "name"))


def test_a_page_that_leads_to_itself_is_no_end_of_it(api, lister, pace):
    api.endless = True
    with pytest.raises(PartFailed, match="the same page over and over"):
        list(lister.scoped_items(pace, _NAMES))


def test_a_project_that_is_not_there_is_told(api, pace):
    session = GcpSession(ProviderOptions(environment=api.environment))
    with pytest.raises(PartFailed, match="404 The resource 'projects/nobodys'"):
        list(Lister(session, "nobodys").scoped_items(pace, _NAMES))


def test_an_api_that_nobody_serves_is_told(api, lister, pace):
    list(lister.scoped_items(pace, _NAMES))
    api.close()
    with pytest.raises(PartFailed, match="refused"):
        list(lister.scoped_items(pace, _NAMES))
