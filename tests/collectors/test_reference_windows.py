from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.collectors.kubernetes.told import Told
from tests.world.waiting import wait_until

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.pauses import Pauses
from ebpf_net.collectors.reference_tables import ReferenceTables
from ebpf_net.collectors.reference_windows import ReferenceWindows, WindowOptions
from ebpf_net.intake.batch import BatchKind
from ebpf_net.schema import Scope, tables_of

INTERVAL_NS = 50_000_000
CLUSTER, NAME = "clusters", "name"


class Rows(ReferenceTables):
    """A source with one row, and what was asked of it."""

    def __init__(self) -> None:
        super().__init__(tables_of(Scope.CLUSTER))
        self.settled = 0
        self.restated = 0
        self.name("first")

    def name(self, name: str) -> None:
        self["kubernetes_clusters"].put("c", ("c", name))

    def settle(self) -> None:
        self.settled += 1

    def restate(self, left_out=()) -> None:
        self.restated += 1
        super().restate(left_out)


@contextmanager
def telling(rows, restated=0, goes_on=lambda: True) -> Iterator[Told]:
    told, pauses = Told(), Pauses()

    def status():
        return windows.sender_status()

    windows = ReferenceWindows(
        rows,
        WindowOptions("host-1", INTERVAL_NS / 1e9, restated),
        SystemClock(),
        told.connect,
        status,
    )
    thread = threading.Thread(target=windows.tell, args=("one", pauses, goes_on))
    thread.start()
    told.stop = lambda: (pauses.stop(), thread.join(20))
    try:
        yield told
    finally:
        told.stop()
        assert not thread.is_alive()
        assert windows.sender_status() == {}
        assert told.closed == 1


def test_a_snapshot_comes_first_and_then_each_window():
    rows = Rows()
    with telling(rows) as told:
        wait_until(lambda: len(told.windows()) >= 4, 20)
        told.stop()
    assert told.headers[0].kind is BatchKind.SNAPSHOT
    windows = told.windows()
    assert [one.sequence for one in windows] == list(range(1, len(windows) + 1))
    ends = [one.window_end_ns for one in windows]
    assert [one.window_start_ns for one in windows[1:]] == ends[:-1]
    assert {end % INTERVAL_NS for end in ends[1:-1]} == {0}
    assert {(one.collector, one.host) for one in windows} == {("one", "host-1")}
    assert rows.settled == len(windows) - 1
    assert rows.restated == 0


def test_a_change_is_told_with_its_window():
    rows = Rows()
    with telling(rows) as told:
        told.wait_for(CLUSTER, (NAME,), ("first",))
        rows.name("second")
        told.wait_for(CLUSTER, (NAME,), ("second",))
    assert [one.kind for one in told.headers].count(BatchKind.SNAPSHOT) == 1


def test_all_rows_are_told_anew_now_and_then():
    rows = Rows()
    with telling(rows, restated=3) as told:
        wait_until(lambda: len(told.windows()) >= 7, 20)
        told.stop()
    assert rows.restated == len(told.windows()) // 3


def test_who_may_not_go_on_tells_no_last_window():
    told_enough = threading.Event()
    with telling(Rows(), goes_on=lambda: not told_enough.is_set()) as told:
        wait_until(told.windows, 20)
        told_enough.set()
        wait_until(lambda: told.closed, 20)
        count = len(told.windows())
    assert len(told.windows()) == count


def test_the_senders_counters_go_with_each_batch():
    with telling(Rows()) as told:
        wait_until(lambda: len(told.windows()) >= 2, 20)
        assert told.status_of_last()["client.sent"] > 0


def test_a_source_without_rows_has_an_empty_snapshot():
    rows = Rows()
    rows["kubernetes_clusters"].remove("c")
    rows.forget_changes()
    with telling(rows) as told:
        wait_until(told.windows, 20)
    assert told.rows(CLUSTER, NAME) == []


class Ending(ReferenceWindows):
    """One whose sender is ended by another thread after the first look at it."""

    @property
    def _sender(self):
        sender, self._left = self._left, None
        return sender

    @_sender.setter
    def _sender(self, sender):
        self._left = sender


def test_a_status_is_given_while_the_sender_ends():
    options = WindowOptions("host-1")
    windows = Ending(Rows(), options, SystemClock(), Told().connect, dict)
    windows._sender = Told()
    assert windows.sender_status() == {"client.sent": 0}
    assert windows.sender_status() == {}
