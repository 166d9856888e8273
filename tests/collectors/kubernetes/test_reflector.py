import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.collectors.kubernetes.fake_api import (
    HOLD,
    Answer,
    FakeApi,
    event,
    failed,
    listed,
    streamed,
)
from tests.collectors.kubernetes.shapes import pod_document
from tests.world.waiting import wait_until

from ebpf_net.collectors.kubernetes.access import Access
from ebpf_net.collectors.kubernetes.api import ApiServer
from ebpf_net.collectors.kubernetes.credentials import Credentials
from ebpf_net.collectors.kubernetes.reflector import Pace, Reflector
from ebpf_net.collectors.kubernetes.resources import RESOURCES

PODS = next(one for one in RESOURCES if one.name == "pods")
FAST = Pace(
    backoff_seconds=0.01,
    max_backoff_seconds=0.02,
    refusal_seconds=0,
    forbidden_seconds=0.05,
    idle_seconds=0.01,
)


class Known:
    """What a reflector has told."""

    def __init__(self):
        self.uids = set()
        self.calls = []

    def put(self, resource, item):
        self.uids.add(item.metadata.uid)
        self.calls.append(("put", item.metadata.uid))

    def drop(self, resource, uid):
        self.uids.discard(uid)
        self.calls.append(("drop", uid))

    def retain(self, resource, uids):
        self.uids &= uids
        self.calls.append(("retain", tuple(sorted(uids))))


def pod(uid, version="10", **more):
    return pod_document(uid=uid, meta={"resourceVersion": version}, **more)


@contextmanager
def reflecting(*answers, pace=FAST):
    with FakeApi(answers) as fake:
        access = Access(fake.url)
        api = ApiServer(access, Credentials(access))
        fake.known = Known()
        fake.reflector = Reflector(api, PODS, fake.known, pace)
        thread = threading.Thread(target=fake.reflector.run)
        thread.start()
        try:
            yield fake
        finally:
            fake.reflector.stop()
            fake.ended.set()
            thread.join(10)
            assert not thread.is_alive()
            api.close()


def test_pages_are_one_list_and_the_watch_goes_on_from_there():
    first = listed(pod("a"), version="8", more="next")
    with reflecting(first, listed(pod("b"), version="9")) as fake:
        one, two, watch = fake.wait_for_requests(3)
        assert one.query == {"limit": "100"}
        assert two.query == {"limit": "100", "continue": "next"}
        assert watch.query["resourceVersion"] == "9"
        assert watch.query["allowWatchBookmarks"] == "true"
        assert fake.known.uids == {"a", "b"}
        assert fake.known.calls[-1] == ("retain", ("a", "b"))
        assert fake.reflector.listed.is_set()


def test_events_are_told_in_their_order():
    events = streamed(
        event("ADDED", pod("a", "11")),
        event("MODIFIED", pod("a", "12")),
        event("ADDED", pod("b", "13")),
        event("DELETED", pod("a", "14")),
    )
    with reflecting(listed(), events) as fake:
        again = fake.wait_for_requests(3)[2]
        assert again.query["resourceVersion"] == "14"
        assert fake.known.calls[1:] == [
            *(("put", "a"), ("put", "a"), ("put", "b"), ("drop", "a")),
        ]


def test_a_bookmark_moves_the_version_on():
    bookmark = event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "99"}})
    with reflecting(listed(), streamed(bookmark)) as fake:
        assert fake.wait_for_requests(3)[2].query["resourceVersion"] == "99"
        assert fake.known.calls == [("retain", ())]


@pytest.mark.parametrize(
    "gone",
    [
        streamed(event("ERROR", {"kind": "Status", "code": 410, "message": "too old"})),
        failed(410, "too old resource version"),
    ],
    ids=["event", "answer"],
)
def test_an_expired_watch_lists_and_what_vanished_ends(gone):
    answers = (listed(pod("a"), pod("b")), gone, listed(pod("b"), version="20"))
    with reflecting(*answers) as fake:
        *_, relist, watch = fake.wait_for_requests(4)
        assert not relist.is_watch
        assert watch.query["resourceVersion"] == "20"
        assert fake.known.uids == {"b"}
        assert fake.reflector.status()["kubernetes.pods.expired"] == 1


def test_pages_that_expire_begin_again_and_forget_nobody():
    expired = failed(410, "the provided continue parameter is too old")
    page = listed(pod("a"), more="next")
    with reflecting(page, expired, page, expired, listed(pod("b"))) as fake:
        requests = fake.wait_for_requests(6)
        assert [request.query.get("limit") for request in requests[:5]] == [
            *("100", "100", "100", "100", None),
        ]
        assert fake.known.uids == {"b"}
        assert [call for call in fake.known.calls if call[0] == "retain"] == [
            ("retain", ("b",))
        ]


def test_a_stream_that_is_cut_goes_on_from_the_last_whole_event():
    lines = (event("ADDED", pod("a", "11")), event("ADDED", pod("b", "12"))[:50])
    with reflecting(listed(), streamed(*lines, then="break")) as fake:
        assert fake.wait_for_requests(3)[2].query["resourceVersion"] == "11"
        assert fake.known.uids == {"a"}


@pytest.mark.parametrize(
    "fault",
    [failed(500), failed(429, Retry_After="0"), Answer(b"{"), Answer(b"<html>", 503)],
    ids=["500", "429", "no list", "proxy"],
)
def test_a_list_that_fails_is_tried_again(fault):
    with reflecting(fault, fault, listed(pod("a"))) as fake:
        fake.wait_for_requests(4)
        assert fake.known.uids == {"a"}
        assert fake.reflector.status()["kubernetes.pods.failures"] == 2


@pytest.mark.parametrize(
    "fault",
    [
        failed(500),
        streamed(b"no json\n"),
        streamed(event("ERROR", {"kind": "Status", "code": 504, "message": "slow"})),
    ],
    ids=["500", "no event", "error"],
)
def test_a_watch_that_fails_goes_on_from_where_it_was(fault):
    with reflecting(listed(pod("a")), fault) as fake:
        again = fake.wait_for_requests(3)[2]
        assert again.query["resourceVersion"] == "10"
        assert fake.known.uids == {"a"}


def test_a_server_that_wants_time_is_given_it():
    with reflecting(failed(429, Retry_After="1"), listed()) as fake:
        fake.wait_for_requests(1)
        with pytest.raises(TimeoutError):
            wait_until(lambda: len(fake.requests) > 1, 0.9)
        fake.wait_for_requests(2)


def test_a_missing_right_is_said_once_and_heals(caplog):
    caplog.set_level(logging.INFO)
    no = failed(403, "pods is forbidden")
    with reflecting(no, no, listed(pod("a"))) as fake:
        fake.wait_for_requests(2)
        wait_until(fake.reflector.listed.is_set, 10)
        assert fake.reflector.lacks_right
        assert fake.reflector.status()["signal.kubernetes_pods.no_list"] == 0
        fake.wait_for_requests(4)
        wait_until(lambda: not fake.reflector.lacks_right, 10)
        assert fake.reflector.status()["signal.kubernetes_pods.watch"] == 1
        assert fake.known.uids == {"a"}
    assert [record.getMessage() for record in caplog.records] == [
        "not allowed to list pods: pods are not known; grant it, and it is noticed",
        "allowed to list and watch pods now",
    ]


PATIENT = replace(FAST, refusal_seconds=60)


@pytest.mark.parametrize("status", [403, 404])
def test_what_is_known_outlasts_a_list_that_is_refused_for_a_moment(status, caplog):
    expired = failed(410)
    no = failed(status)
    answers = (listed(pod("a")), expired, no, no, no, listed(pod("a")))
    with reflecting(*answers, pace=PATIENT) as fake:
        fake.wait_for_requests(7)
        assert ("retain", ()) not in fake.known.calls
        assert fake.known.uids == {"a"}
        wait_until(lambda: not fake.reflector.lacks_right, 10)
        assert fake.reflector.status()["kubernetes.pods.failures"] == 3
    assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == 1


def test_a_watch_that_is_refused_for_a_moment_goes_on_from_where_it_was():
    no = failed(403)
    with reflecting(listed(pod("a")), no, no, pace=PATIENT) as fake:
        requests = fake.wait_for_requests(4)
        assert [one.query.get("resourceVersion") for one in requests] == [
            *(None, "10", "10", "10"),
        ]
        assert [one.is_watch for one in requests] == [False, True, True, True]


def test_a_refusal_that_lasts_ends_the_table():
    pace = replace(FAST, refusal_seconds=0.2)
    with reflecting(listed(pod("a")), *[failed(403)] * 1000, pace=pace) as fake:
        began = time.monotonic()
        wait_until(lambda: ("retain", ()) in fake.known.calls, 10)
        assert time.monotonic() - began >= 0.2
        assert fake.known.uids == set()


def test_refusals_with_a_list_between_them_do_not_last():
    pace = replace(FAST, refusal_seconds=0.3)
    no, away, again = failed(403), failed(500), listed(pod("a"))
    with reflecting(again, failed(410), no, again, *[away] * 30, pace=pace) as fake:
        fake.wait_for_requests(30)
        with fake.changed:
            fake.answers[""].extendleft([again, no, failed(410)])
        fake.wait_for_requests(34)
        wait_until(lambda: not fake.reflector.lacks_right, 10)
        assert ("retain", ()) not in fake.known.calls


def test_an_answer_that_is_none_of_an_api_server_is_said_once(caplog):
    page = Answer(b"<html>")
    with reflecting(*[page] * 5, listed(pod("a"))) as fake:
        fake.wait_for_requests(7)
    assert [record.getMessage() for record in caplog.records] == [
        "pods: not a list: JSON is malformed: invalid character (byte 0)"
    ]


def test_a_right_that_is_taken_away_ends_the_table():
    no = failed(403)
    with reflecting(listed(pod("a")), no, no) as fake:
        wait_until(lambda: fake.known.calls[-1:] == [("retain", ())], 10)
        assert fake.known.uids == set()


def test_without_the_right_to_watch_it_is_listed_now_and_then():
    no = failed(403)
    with reflecting(listed(pod("a")), no, listed(pod("b")), no, listed()) as fake:
        requests = fake.wait_for_requests(5)
        assert [request.is_watch for request in requests] == [
            *(False, True, False, True, False),
        ]
        assert fake.reflector.status()["signal.kubernetes_pods.no_watch"] == 0


def test_an_object_that_cannot_be_read_is_counted():
    bad = pod("b", spec={"containers": "none"})
    events = streamed(event("ADDED", bad), event("ADDED", pod("c", "12")))
    with reflecting(listed(pod("a"), bad), events) as fake:
        fake.wait_for_requests(3)
        assert fake.known.uids == {"a", "c"}
        assert fake.reflector.status()["lost.pods_undecodable"] == 2


def test_an_object_with_a_time_out_of_range_is_counted():
    late = pod("b", status={"startTime": "9999-12-31T23:59:59Z"})
    with reflecting(listed(late, pod("a")), HOLD) as fake:
        fake.wait_for_requests(2)
        assert fake.known.uids == {"a"}
        assert fake.reflector.status()["lost.pods_undecodable"] == 1


def test_it_ends_while_a_watch_is_silent():
    with reflecting(listed(), HOLD) as fake:
        fake.wait_for_requests(2)
        fake.reflector.stop()
    assert len(fake.requests) == 2
