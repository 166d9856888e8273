import threading
import time

import pytest

from ebpf_net.collectors.cloud.pace import CallCounter, CallPace, PaceOptions
from ebpf_net.collectors.cloud.providers import CallFailed, PartFailed

_QUICK = PaceOptions(
    tries=3,
    first_wait_seconds=0.001,
    longest_wait_seconds=0.05,
    longest_distance_seconds=0.2,
)


class _Answers:
    """Raises what there is to raise, in turn, and then answers."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.times: list[float] = []

    def __call__(self) -> str:
        self.times.append(time.monotonic())
        if self._failures:
            raise self._failures.pop(0)
        return "answer"


@pytest.fixture
def counter():
    return CallCounter()


@pytest.fixture
def pace(counter):
    return CallPace(counter, threading.Event(), _QUICK)


def test_a_call_that_fails_in_passing_is_made_again(pace, counter):
    answers = _Answers(CallFailed("status 500"), CallFailed("reset"))
    assert pace.call("list", answers) == "answer"
    assert counter.status() == {
        "cloud.calls": 3,
        "cloud.calls_last_hour": 3,
        "cloud.calls_failed": 2,
        "cloud.calls_throttled": 0,
    }


def test_a_call_that_keeps_failing_says_which_and_why(pace, counter):
    answers = _Answers(*[CallFailed("status 500")] * 5)
    with pytest.raises(PartFailed, match="list: status 500"):
        pace.call("list", answers)
    assert counter.status()["cloud.calls"] == 3


def test_it_waits_for_as_long_as_the_provider_asks(pace):
    answers = _Answers(CallFailed("slow", throttled=True, retry_after_seconds=0.04))
    pace.call("list", answers)
    first, second = answers.times
    assert second - first >= 0.04


def test_who_asks_for_a_long_wait_is_left_alone(pace, counter):
    answers = _Answers(CallFailed("slow", throttled=True, retry_after_seconds=60))
    with pytest.raises(PartFailed) as failed:
        pace.call("list", answers)
    assert failed.value.retry_after_seconds == 60
    assert counter.status()["cloud.calls_throttled"] == 1


def test_calls_keep_a_distance_after_a_complaint(pace):
    pace.call("list", _Answers(CallFailed("slow", throttled=True)))
    answers = _Answers()
    pace.call("list", answers)
    pace.call("list", answers)
    first, second = answers.times
    assert second - first >= 0.08  # 0.1 s, less a tenth with each answer


def test_the_distance_ends_with_many_answers(pace):
    pace.call("list", _Answers(CallFailed("slow", throttled=True)))
    for _ in range(40):
        pace.call("list", _Answers())
    answers = _Answers()
    for _ in range(20):
        pace.call("list", answers)
    assert answers.times[-1] - answers.times[0] < 0.1


def test_a_failure_that_no_other_try_mends_is_passed_on(pace, counter):
    with pytest.raises(PartFailed, match="denied"):
        pace.call("list", _Answers(PartFailed("denied", "ec2:DescribeRegions")))
    assert counter.status()["cloud.calls"] == 1


def test_a_stop_ends_the_wait():
    stopped = threading.Event()
    pace = CallPace(CallCounter(), stopped, PaceOptions())

    def request() -> None:
        stopped.set()
        raise CallFailed("status 500")

    with pytest.raises(PartFailed, match="ends"):
        pace.call("list", request)
