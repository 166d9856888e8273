"""Whether the program can be asked, as its counters say it."""

import errno
import os
import signal

import pytest

from ebpf_net.collectors.kernel.conntrack_opener import (
    ConntrackOpener,
    UnreachableError,
)
from ebpf_net.collectors.kernel.conntrack_reach import ConntrackReach
from ebpf_net.collectors.kernel.translation_signal import find_attach

PLACE = "/proc/self/ns/net"


def status(unanswered: int, reached: int) -> dict[str, int]:
    return {
        "lost.conntrack_unreachable": unanswered,
        "signal.translations.conntrack": reached,
    }


def test_questions_without_an_answer_are_counted_and_told_once(
    opener: ConntrackOpener, caplog: pytest.LogCaptureFixture
) -> None:
    reach = ConntrackReach(opener)
    assert reach.status() == status(0, 1)
    for _ in range(3):
        reach.note(UnreachableError(errno.ETIMEDOUT, "it sleeps"))
    assert reach.status() == status(3, 0)
    assert caplog.text.count("it sleeps") == 1
    reach.begin_window()
    assert reach.status() == status(3, 1)


def end(opener: ConntrackOpener) -> None:
    """Let it end, and be found to have."""
    os.kill(opener.pid, signal.SIGKILL)
    with pytest.raises(UnreachableError):
        opener.check(PLACE, 0)


def test_one_that_ended_is_started_again(opener: ConntrackOpener) -> None:
    attach = find_attach(opener)
    reach = ConntrackReach(opener, attach)
    end(opener)
    reach.begin_window()
    opener.check(PLACE, 0)
    assert reach.status() == status(0, 1)


def test_without_the_rights_of_the_first_it_is_left_alone(
    opener: ConntrackOpener,
) -> None:
    opener.check(PLACE, 0)
    reach = ConntrackReach(opener, "more than there is")
    end(opener)
    for _ in range(2):
        reach.begin_window()
        with pytest.raises(UnreachableError) as failed:
            opener.check(PLACE, 0)
        reach.note(failed.value)
    assert reach.status() == status(2, 0)
