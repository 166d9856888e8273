import contextlib
import logging
import threading
import time

import pytest
from tests.collectors.kernel.runtime_servers import wait_for

from ebpf_net.collectors.kernel.container_api import ApiError, ContainerApi
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
)

ASKED = ContainerQuestion("3f1c0a2be5d74986" * 4, "docker")
DETAILS = ContainerDetails("web")


class Runtime:
    """Gives its answers in turn, then none; an exception is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def fetch(self, path, question, timeout_seconds):
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def place(tmp_path):
    (tmp_path / "runtime.sock").touch()
    return tmp_path / "runtime.sock"


@contextlib.contextmanager
def running(fetch, *places, **seconds):
    api = ContainerApi("docker", places, fetch, **seconds)
    try:
        yield api
    finally:
        api.stop()
        api.join(10)


def test_answers_come_while_the_caller_does_other_things(place):
    with running(Runtime(DETAILS).fetch, place) as api:
        api.ask(ASKED)
        assert wait_for(api.take_answers) == [(ASKED, DETAILS)]
        assert api.take_answers() == []
        assert api.failures == 0


def test_a_failure_is_counted_told_once_and_asked_again(place, caplog):
    caplog.set_level(logging.WARNING)
    refused = PermissionError(13, "Permission denied")
    runtime = Runtime(refused, ApiError("no answer"), DETAILS)
    with running(runtime.fetch, place, first_delay_seconds=0.01) as api:
        api.ask(ASKED)
        assert wait_for(api.take_answers) == [(ASKED, DETAILS)]
        assert (api.failures, api.dropped) == (2, 0)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("docker cannot be asked for names of containers: [Errno")


def test_a_question_is_given_up_after_some_failures(place):
    runtime = Runtime(*[ApiError("ill")] * 100)
    with running(runtime.fetch, place, first_delay_seconds=0.0001) as api:
        api.ask(ASKED)
        wait_for(lambda: api.dropped)
        assert (api.failures, api.dropped) == (8, 1)


def test_the_socket_is_looked_for_at_each_question(tmp_path):
    place, other = tmp_path / "a.sock", tmp_path / "b.sock"
    with running(Runtime(DETAILS).fetch, place, other) as api:
        api.ask(ASKED)
        api.wait_answers(60.0)
        assert api.take_answers() == []
        other.touch()
        api.ask(ASKED)
        api.wait_answers(60.0)
        assert api.take_answers() == [(ASKED, DETAILS)]
        assert (api.failures, api.dropped) == (0, 0)


def test_a_runtime_that_is_started_anew_is_asked_again(place):
    runtime = Runtime(None, DETAILS)
    with running(runtime.fetch, place, first_delay_seconds=0.01) as api:
        api.ask(ASKED)
        api.wait_answers(60.0)
        place.unlink()
        api.ask(ASKED)
        wait_for(lambda: api.failures)
        place.touch()
        assert wait_for(api.take_answers) == [(ASKED, DETAILS)]


def test_the_first_answers_can_be_waited_for(place):
    with running(Runtime(*[DETAILS] * 5).fetch, place) as api:
        for _ in range(5):
            api.ask(ASKED)
        api.wait_answers(60.0)
        assert api.take_answers() == [(ASKED, DETAILS)] * 5


@contextlib.contextmanager
def hanging(place):
    """A runtime that answers when the event is set; it is told when it is asked."""
    asked, event = threading.Event(), threading.Event()

    def fetch(path, question, timeout_seconds):
        asked.set()
        event.wait(60)
        return DETAILS

    with running(fetch, place) as api:
        try:
            yield api, asked, event
        finally:
            event.set()


def test_a_runtime_that_hangs_is_waited_for_once_and_no_longer_than_told(place):
    with hanging(place) as (api, _, event):
        began = time.monotonic()
        api.ask(ASKED)
        api.wait_answers(0.01)
        api.wait_answers(60.0)
        api.ask(ASKED)
        api.wait_answers(60.0)
        assert time.monotonic() - began < 10
        event.set()
        wait_for(lambda: len(api.take_answers()) or api.take_answers())
        api.wait_answers(60.0)


def test_a_runtime_that_fails_is_not_waited_for(place):
    began = time.monotonic()
    runtime = Runtime(*[ApiError("ill")] * 100)
    with running(runtime.fetch, place, first_delay_seconds=60.0) as api:
        api.ask(ASKED)
        wait_for(lambda: api.failures)
        api.ask(ASKED)
        api.wait_answers(60.0)
    assert time.monotonic() - began < 10


def test_questions_beyond_the_queue_are_dropped_and_counted(place):
    with hanging(place) as (api, asked, _):
        api.ask(ASKED)
        assert asked.wait(10)
        for _ in range(1030):
            api.ask(ASKED)
        assert api.dropped == 6


def test_without_a_place_no_thread_is_started():
    threads = threading.active_count()
    with running(Runtime(DETAILS).fetch) as api:
        api.ask(ASKED)
        api.wait_answers(60.0)
        assert threading.active_count() == threads
        assert api.take_answers() == []


def test_after_the_end_nothing_is_asked(place):
    with running(Runtime(DETAILS).fetch, place) as api:
        api.stop()
        api.ask(ASKED)
        api.wait_answers(60.0)
        assert api.take_answers() == []


def failing_for(container_id, error):
    """A runtime that knows all containers, but one it cannot tell of."""
    asked = []

    def fetch(path, question, timeout_seconds):
        asked.append(question)
        if question.container_id == container_id:
            raise error
        return DETAILS

    return fetch, asked


def test_a_container_that_cannot_be_read_holds_up_no_other(place):
    fetch, asked = failing_for("ill", ApiError("no JSON"))
    with running(fetch, place, first_delay_seconds=60.0) as api:
        api.ask(ContainerQuestion("ill"))
        wait_for(lambda: api.failures)
        for _ in range(5):
            api.ask(ASKED)
        api.wait_answers(60.0)
        assert api.take_answers() == [(ASKED, DETAILS)] * 5
        assert (api.failures, api.dropped) == (1, 0)
    assert len(asked) == 6


def test_one_container_without_an_answer_does_not_pause_a_runtime_for_long(place):
    fetch, _ = failing_for("ill", TimeoutError("timed out"))
    with running(fetch, place, first_delay_seconds=0.02) as api:
        api.ask(ContainerQuestion("ill"))
        for failures in range(1, 6):
            wait_for(lambda least=failures: api.failures >= least)
            api.ask(ASKED)
            assert wait_for(api.take_answers) == [(ASKED, DETAILS)]


def test_a_runtime_that_is_not_well_is_left_in_peace(place):
    asked = threading.Event()

    def fetch(path, question, timeout_seconds):
        assert not asked.is_set()
        asked.set()
        raise ConnectionRefusedError

    with running(fetch, place, first_delay_seconds=60.0) as api:
        for _ in range(5):
            api.ask(ASKED)
        wait_for(lambda: api.failures)
        api.ask(ASKED)
        api.wait_answers(60.0)
    assert (api.failures, api.dropped) == (1, 0)
