import logging
import threading
import time

import pytest
from tests.world.waiting import wait_until

from ebpf_net.collectors.cloud.pace import CallCounter, CallPace, PaceOptions
from ebpf_net.collectors.cloud.providers import PartFailed
from ebpf_net.collectors.cloud.tasks import Task, Tasks


class _Work:
    """Notes when it is done, and raises what there is to raise."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.failure: Exception | None = None
        self.lacking: PartFailed | None = None

    def __call__(self, pace: CallPace) -> None:
        self.times.append(time.monotonic())
        if self.lacking is not None:
            pace.do_without(self.lacking)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def stopped():
    return threading.Event()


@pytest.fixture
def tasks(stopped):
    tasks = Tasks(2, stopped)
    tasks.start()
    yield tasks
    tasks.stop()
    tasks.join(10)


def _task(work, stopped, seconds=0.02):
    pace = CallPace(CallCounter(), stopped, PaceOptions())
    return Task("part", seconds, work, pace)


def test_a_task_is_done_over_and_over(tasks, stopped):
    work = _Work()
    tasks.put(_task(work, stopped))
    wait_until(lambda: len(work.times) >= 4, 10)
    assert work.times[3] - work.times[0] >= 3 * 0.02 - 0.005


def test_what_fails_is_done_later_and_later(tasks, stopped):
    work = _Work()
    work.failure = PartFailed("no")
    task = _task(work, stopped)
    tasks.put(task)
    wait_until(lambda: len(work.times) >= 4, 10)
    first, second, third, fourth = work.times[:4]
    assert second - first >= 0.02
    assert third - second >= 0.04
    assert fourth - third >= 0.08
    work.failure = None
    wait_until(lambda: not task.failures, 10)


def test_what_is_done_seldom_is_tried_again_sooner(tasks, stopped):
    work = _Work()
    work.failure = PartFailed("no")
    task = _task(work, stopped, seconds=600)
    task.retry_seconds = 0.02
    tasks.put(task)
    wait_until(lambda: len(work.times) >= 3, 10)
    work.failure = None
    wait_until(lambda: not task.failures, 10)


def test_what_asks_for_a_pause_gets_it(tasks, stopped):
    work = _Work()
    work.failure = PartFailed("no", retry_after_seconds=0.2)
    tasks.put(_task(work, stopped))
    wait_until(lambda: len(work.times) >= 2, 10)
    assert work.times[1] - work.times[0] >= 0.2


def test_other_tasks_go_on_while_one_waits(tasks, stopped):
    waiting, release, other = threading.Event(), threading.Event(), _Work()

    def wait(pace: CallPace) -> None:
        waiting.set()
        release.wait(10)

    tasks.put(_task(wait, stopped))
    assert waiting.wait(10)
    tasks.put(_task(other, stopped))
    wait_until(lambda: len(other.times) >= 2, 10)
    release.set()


def test_what_is_over_is_ended_instead(tasks, stopped):
    work, ended = _Work(), threading.Event()
    task = _task(work, stopped)
    tasks.put(task)
    wait_until(lambda: work.times, 10)
    task.end = ended.set
    assert ended.wait(10)
    count = len(work.times)
    tasks.put(_task(_Work(), stopped))
    assert len(work.times) == count


def test_a_problem_is_logged_when_it_is_new(tasks, stopped, caplog):
    caplog.set_level(logging.INFO, "ebpf_net.collectors.cloud.tasks")
    work = _Work()
    work.failure = PartFailed("not allowed", "ec2:DescribeRegions")
    task = _task(work, stopped)
    tasks.put(task)
    wait_until(lambda: task.failures >= 3, 10)
    work.failure = None
    wait_until(lambda: not task.problems, 10)
    assert [record.message for record in caplog.records] == [
        "part: not allowed; missing permission: ec2:DescribeRegions",
        "part: works again",
    ]


def test_what_is_done_without_is_a_problem_but_no_failure(tasks, stopped, caplog):
    work = _Work()
    work.lacking = PartFailed("no names", "ec2:DescribeInstances")
    task = _task(work, stopped)
    tasks.put(task)
    wait_until(lambda: len(work.times) >= 3, 10)
    assert task.failures == 0
    assert task.problems == {"no names; missing permission: ec2:DescribeInstances"}
    assert len(caplog.records) == 1


def test_an_unexpected_failure_is_one_of_its_task_only(tasks, stopped, caplog):
    work = _Work()
    work.failure = RuntimeError("bug")
    task = _task(work, stopped)
    tasks.put(task)
    wait_until(lambda: task.failures >= 2, 10)
    assert task.problems == {"unexpected failure: RuntimeError"}


def test_a_stop_ends_all_threads(stopped):
    tasks = Tasks(3, stopped)
    tasks.start()
    tasks.put(_task(_Work(), stopped, 60.0))
    tasks.stop()
    tasks.join(10)
    assert not [one for one in threading.enumerate() if one.name.startswith("poll-")]
