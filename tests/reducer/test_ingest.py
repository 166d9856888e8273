from __future__ import annotations

import pytest

from ebpf_net.intake.batch import BatchHeader
from ebpf_net.reducer.ingest import (
    RECONNECT_NS,
    Clock,
    Timing,
    Windows,
    source_key,
)
from ebpf_net.reducer.sources import Source
from ebpf_net.testing.tables import START_NS, WINDOW_NS, make_batch, make_header

SECOND_NS = 1_000_000_000
LATENESS_NS = 2 * SECOND_NS
FIRST = START_NS // WINDOW_NS


def put(windows: Windows, header: BatchHeader, received_ns: int) -> str:
    windows.hear(header, received_ns, received_ns)
    return windows.put(make_batch(header=header), received_ns)


def end_of(window: int) -> int:
    return START_NS + (window + 1) * WINDOW_NS


def shifted(start_ns: int, length_ns: int = WINDOW_NS) -> BatchHeader:
    return make_header(window_start_ns=start_ns, window_end_ns=start_ns + length_ns)


def window_of(header: BatchHeader) -> int:
    windows = Windows(Timing())
    windows.hear(header, 0, 0)
    return windows.window_of(header) - FIRST


def test_window_of_equal_length_goes_where_its_middle_is():
    assert window_of(shifted(START_NS + 4 * SECOND_NS)) == 0
    assert window_of(shifted(START_NS + 6 * SECOND_NS)) == 1
    assert window_of(shifted(START_NS - 4 * SECOND_NS)) == 0


def test_window_of_other_length_goes_where_its_end_is():
    assert window_of(shifted(START_NS, SECOND_NS)) == 0
    assert window_of(shifted(START_NS + 9 * SECOND_NS, SECOND_NS)) == 0
    assert window_of(shifted(START_NS - 20 * SECOND_NS, 30 * SECOND_NS)) == 0


@pytest.mark.parametrize("delay_s", [-7, -0.3, 0, 0.3, 7])
def test_parts_of_a_window_go_where_the_whole_goes_whatever_the_clock(delay_s):
    windows = Windows(Timing())
    windows.hear(make_header(), int(delay_s * SECOND_NS), 0)
    first = shifted(START_NS, 4 * SECOND_NS)
    second = shifted(START_NS + 4 * SECOND_NS, 6 * SECOND_NS)
    whole = windows.window_of(shifted(START_NS))
    assert [windows.window_of(part) for part in (first, second)] == [whole, whole]


def test_offset_is_the_least_delay_of_recent_batches():
    clock = Clock()
    clock.delays_ns.extend([3 * SECOND_NS, 2 * SECOND_NS, 4 * SECOND_NS])
    assert clock.delay_ns == 2 * SECOND_NS


def test_network_delay_is_no_offset():
    clock = Clock()
    clock.delays_ns.extend([49_000_000, 60_000_000])
    assert clock.delay_ns == 0


def test_backlog_waits_for_the_other_collectors():
    windows = Windows(Timing())
    now = end_of(5)
    put(windows, make_header(0), now)
    assert windows.next_close_ns() == now + LATENESS_NS
    assert windows.due(now + LATENESS_NS - 1) == []
    assert [one.number - FIRST for one in windows.due(now + LATENESS_NS)] == [0]


def test_part_of_a_window_does_not_close_it():
    windows = Windows(Timing())
    put(windows, make_header(0), end_of(0))
    half = WINDOW_NS // 2
    put(windows, shifted(START_NS + WINDOW_NS, half), START_NS + WINDOW_NS + half)
    windows.due(end_of(0) + LATENESS_NS)
    assert windows.next_close_ns() == end_of(1) + LATENESS_NS
    put(windows, shifted(START_NS + WINDOW_NS + half, half), end_of(1))
    assert windows.next_close_ns() == end_of(1)


def test_windows_close_in_their_order():
    windows = Windows(Timing())
    for number in (2, 0, 1):
        put(windows, make_header(number), end_of(number))
    due = windows.due(end_of(2) + LATENESS_NS)
    assert [(one.number - FIRST, one.late) for one in due] == [
        (0, False),
        (1, False),
        (2, False),
    ]


def test_batch_of_a_closed_window_is_late():
    windows = Windows(Timing())
    put(windows, make_header(0), end_of(0))
    windows.due(end_of(0) + LATENESS_NS)
    put(windows, make_header(0, collector="two"), end_of(1))
    due = windows.due(end_of(1) + LATENESS_NS)
    assert [(one.number - FIRST, one.late) for one in due] == [(0, True)]


def test_batch_beyond_the_horizon_is_refused():
    windows = Windows(Timing(horizon_ns=WINDOW_NS))
    assert put(windows, make_header(0), end_of(1)) == ""
    assert put(windows, make_header(0), end_of(1) + 1) == "too_old"


def test_collector_is_live_for_a_window_after_its_last():
    windows = Windows(Timing())
    put(windows, make_header(0), end_of(0))
    assert windows.live_collectors(FIRST + 1) == {"one"}
    assert windows.live_collectors(FIRST + 2) == set()


def test_successor_within_a_window_does_not_speak_for_the_one_that_was_killed():
    windows = Windows(Timing())
    killed, successor = (source_key(make_header(0, incarnation=n)) for n in "12")
    put(windows, make_header(0, incarnation="1"), end_of(0))
    put(windows, make_header(1, incarnation="2"), end_of(1))
    sources = {killed: Source("one", FIRST), successor: Source("one", FIRST + 1)}
    assert windows.whole_sources(FIRST + 1, sources) == {successor}
    put(windows, make_header(2, incarnation="2"), end_of(2))
    assert windows.whole_sources(FIRST + 2, sources) == {killed, successor}


def test_part_of_a_window_is_not_the_whole():
    windows = Windows(Timing())
    put(windows, make_header(0, last_of_window=False), end_of(0))
    assert windows.whole_sources(FIRST, {}) == frozenset()
    put(windows, make_header(0), end_of(0))
    assert windows.whole_sources(FIRST, {}) == {source_key(make_header(0))}
    windows.forget(FIRST + 1, {"one"})
    put(windows, make_header(2), end_of(2))
    assert windows.whole_sources(FIRST, {}) is None


def test_each_start_of_a_collector_is_another_source():
    assert source_key(make_header()) != source_key(make_header(incarnation="second"))


def test_what_was_closed_survives_a_restart():
    windows = Windows(Timing())
    put(windows, make_header(0), end_of(0))
    windows.due(end_of(0) + LATENESS_NS)
    put(windows, make_header(1, collector="two"), end_of(1))
    successor = Windows(Timing())
    successor.from_json(windows.to_json())
    assert successor.last_closed == FIRST
    assert successor.live_collectors(FIRST + 1) == {"one"}
    source = source_key(make_header(0))
    assert successor.whole_sources(FIRST, {}) == {source}
    assert successor.whole_sources(FIRST + 1, {}) == frozenset()
    assert successor.collectors["one"].last_received_ns == end_of(0)


def restarted(*names: str) -> Windows:
    """Return the windows of a reducer that these had told a first window before."""
    windows = Windows(Timing())
    for name in names:
        put(windows, make_header(0, collector=name), end_of(0))
    windows.due(end_of(0) + LATENESS_NS)
    successor = Windows(Timing())
    successor.from_json(windows.to_json())
    return successor


def test_after_a_restart_windows_wait_for_collectors_that_come_back():
    windows = restarted("one", "two")
    back_ns = end_of(3)
    for window in (1, 2):
        put(windows, make_header(window, collector="one"), back_ns)
    assert windows.due(back_ns + RECONNECT_NS - 1) == []
    later_ns = back_ns + SECOND_NS * 5
    put(windows, make_header(1, collector="two"), later_ns)
    assert [one.number for one in windows.due(later_ns)] == [FIRST + 1]
    assert windows.due(later_ns + LATENESS_NS - 1) == []
    (second,) = windows.due(later_ns + LATENESS_NS)
    assert (second.number, second.late) == (FIRST + 2, False)


def test_after_a_restart_windows_wait_no_longer_for_who_stays_away():
    windows = restarted("one", "two")
    back_ns = end_of(3)
    put(windows, make_header(1, collector="one"), back_ns)
    assert windows.next_close_ns() == back_ns + RECONNECT_NS
    assert len(windows.due(back_ns + RECONNECT_NS)) == 1
    put(windows, make_header(4, collector="one"), end_of(4))
    put(windows, make_header(5, collector="one"), end_of(5))
    assert len(windows.due(end_of(5))) == 2


def test_clock_that_was_set_is_believed_at_once_and_a_slow_request_is_not_one():
    clock = Clock()
    for delay_s in (0, 20, 0):
        clock.observe(delay_s * SECOND_NS, 0)
    assert clock.delay_ns == 0
    clock.observe(3600 * SECOND_NS, 0)  # made before the clock was set, sent after
    assert clock.delay_ns == 0
    clock.observe(3600 * SECOND_NS, 1)
    assert clock.delay_ns == 3600 * SECOND_NS
    clock.observe(0, 2)
    assert clock.delay_ns == 0
