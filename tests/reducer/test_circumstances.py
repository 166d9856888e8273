import pytest

from ebpf_net.reducer.circumstances import Circumstances, Moment, recent_windows
from ebpf_net.reducer.memory import RECENT_WINDOWS


def test_the_other_end_is_looked_for_in_recent_windows_the_newest_first():
    recent = list(recent_windows(Circumstances(100, Moment.ON_TIME)))
    assert recent[0] == 100
    assert recent == sorted(recent, reverse=True)
    assert len(recent) == RECENT_WINDOWS


@pytest.mark.parametrize("moment", [Moment.LATE, Moment.RELEASED])
def test_what_comes_after_its_window_finds_the_window_after_it_too(moment):
    on_time = list(recent_windows(Circumstances(100, Moment.ON_TIME)))
    assert list(recent_windows(Circumstances(100, moment))) == [101, *on_time]
