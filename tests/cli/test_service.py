import time
from dataclasses import replace
from itertools import pairwise

import pytest

from ebpf_net.cli.service import ReducerService
from ebpf_net.intake.batch import BatchKind
from ebpf_net.intake.sink import Overloaded, SnapshotNeeded
from ebpf_net.reducer.pipeline import Reducer, ReducerOptions
from ebpf_net.reducer.state import read_state
from ebpf_net.testing.exporter import ListExporter
from ebpf_net.testing.tables import START_NS, client_row, make_batch, make_header

WINDOW_NS = 10_000_000_000
DAY_NS = 24 * 3600 * 10**9


def end_of(window):
    return START_NS + (window + 1) * WINDOW_NS


def snapshot(window=0):
    return make_batch(header=make_header(window, kind=BatchKind.SNAPSHOT, sequence=0))


def batch(window, bytes_sent):
    row = client_row("10.0.0.1", "10.0.0.2", 80, bytes_sent=bytes_sent, opened=1)
    return make_batch([row], header=make_header(window))


def accept(service, one):
    at = one.header.window_end_ns
    return service.accept(one, at, at)


def names_of(points):
    return {point.name for point in points}


@pytest.fixture
def exporter():
    return ListExporter(holds=True)


@pytest.fixture
def state_file(tmp_path):
    return tmp_path / "reducer.state"


@pytest.fixture
def service(exporter, state_file):
    return ReducerService(Reducer(), [exporter], state_file)


def test_unknown_collector_has_to_send_a_snapshot_first(service):
    with pytest.raises(SnapshotNeeded):
        accept(service, batch(0, 7))
    assert accept(service, snapshot()).received == 0
    assert accept(service, batch(0, 7)).received == 1


def test_batch_is_committed_when_every_exporter_has_its_window(service, exporter):
    accept(service, snapshot())
    accept(service, batch(0, 7))
    service.advance(end_of(0) + WINDOW_NS)
    assert len(exporter.windows) == 1
    assert service.progress("one", "first").committed == 0
    exporter.release()
    service.advance(end_of(0) + WINDOW_NS)
    assert service.progress("one", "first").committed == 1


def test_repeated_batch_counts_once(service, exporter):
    accept(service, snapshot())
    accept(service, batch(0, 7))
    assert accept(service, batch(0, 7)).duplicate
    service.advance(end_of(0) + WINDOW_NS)
    assert exporter.total("bytes") == 7


def test_what_was_exported_before_a_restart_is_not_counted_again(
    service, exporter, state_file
):
    accept(service, snapshot())
    accept(service, batch(0, 7))
    service.advance(end_of(0) + WINDOW_NS)
    exporter.release()
    service.advance(end_of(0) + WINDOW_NS)

    again = ListExporter()
    restarted = ReducerService(Reducer(), [again], state_file)
    with pytest.raises(SnapshotNeeded):
        accept(restarted, batch(0, 7))
    accept(restarted, snapshot())
    assert accept(restarted, batch(0, 7)).duplicate
    accept(restarted, batch(1, 5))
    restarted.advance(end_of(1) + WINDOW_NS)
    assert exporter.total("bytes") == 7
    assert again.total("bytes") == 5


def test_a_window_adds_what_has_changed_to_the_state(service, exporter, state_file):
    accept(service, snapshot())
    sizes = []
    for window in range(9):
        accept(service, batch(window, 7))
        service.advance(end_of(window) + WINDOW_NS)
        exporter.release()
        service.advance(end_of(window) + WINDOW_NS)
        sizes.append(state_file.stat().st_size)
    assert all(after - before < sizes[0] // 4 for before, after in pairwise(sizes))
    reducer = Reducer()
    restarted = ReducerService(reducer, [ListExporter()], state_file)
    accept(restarted, snapshot())
    assert accept(restarted, batch(8, 7)).duplicate
    assert len(read_state(reducer.state(), 99).memory) == 9


def test_what_was_exported_is_still_known_when_the_silent_are_forgotten(
    service, exporter, state_file
):
    accept(service, snapshot())
    accept(service, batch(0, 7))
    service.advance(end_of(0) + WINDOW_NS)
    exporter.release()
    service.advance(end_of(0) + WINDOW_NS)

    restarted = ReducerService(Reducer(), [exporter], state_file)
    restarted.forget_silent(time.time_ns())
    accept(restarted, snapshot())
    assert accept(restarted, batch(0, 7)).duplicate


def test_late_batch_is_not_lost_where_a_later_one_was_exported_first(
    service, exporter, state_file
):
    for one in (snapshot(), batch(0, 1)):
        header = replace(one.header, collector="two")
        accept(service, replace(one, header=header))
    accept(service, snapshot())
    service.advance(end_of(0) + WINDOW_NS)
    exporter.release()
    came = end_of(1) + WINDOW_NS // 10
    service.accept(batch(0, 7), came, came)
    service.accept(batch(1, 5), came, came)
    service.advance(end_of(1) + 2 * WINDOW_NS // 10)
    exporter.release()
    service.advance(end_of(1) + 2 * WINDOW_NS // 10)
    assert exporter.total("bytes") == 1 + 5
    assert service.progress("one", "first").committed == 0

    again = ListExporter()
    restarted = ReducerService(Reducer(), [again], state_file)
    accept(restarted, snapshot())
    assert not restarted.accept(batch(0, 7), came, came).duplicate
    assert restarted.accept(batch(1, 5), came, came).duplicate
    restarted.advance(end_of(2) + WINDOW_NS)
    assert again.total("bytes") == 7
    assert restarted.progress("one", "first").committed == 2


def test_what_was_not_exported_before_a_restart_is_counted_after_it(
    service, exporter, state_file
):
    accept(service, snapshot())
    accept(service, batch(0, 7))
    service.advance(end_of(0) + WINDOW_NS)  # handed out, never delivered

    again = ListExporter()
    restarted = ReducerService(Reducer(), [again], state_file)
    accept(restarted, snapshot())
    assert not accept(restarted, batch(0, 7)).duplicate
    restarted.advance(end_of(0) + WINDOW_NS)
    assert again.total("bytes") == 7


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        b"ebpf-net reducer state 2\n\xff\xff\xff\xff",
        b"ebpf-net reducer state 3\n\xff\xff\xff\xff",
        b"\x00" * 99,
    ],
)
def test_damaged_state_is_said_and_not_used(content, state_file, caplog):
    state_file.write_bytes(content)
    service = ReducerService(Reducer(), [], state_file)
    assert "is damaged and not used" in caplog.text
    accept(service, snapshot())


def test_batch_refused_for_want_of_room_is_new_when_it_comes_again(tmp_path):
    exporter = ListExporter()
    service = ReducerService(
        Reducer(ReducerOptions(max_rows=1)), [exporter], tmp_path / "state"
    )
    accept(service, snapshot())
    accept(service, batch(0, 7))
    with pytest.raises(Overloaded):
        accept(service, batch(1, 5))
    service.advance(end_of(0) + WINDOW_NS)
    assert not accept(service, batch(1, 5)).duplicate
    service.advance(end_of(1) + WINDOW_NS)
    assert exporter.total("bytes") == 12


def test_internal_metrics_tell_losses_and_signals_of_each_collector(service):
    accept(service, snapshot())
    header = make_header(0, status={"lost.ring_full": 3, "signal.tcp.state.tp_btf": 1})
    accept(service, make_batch(header=header))
    points = {
        (point.name, point.labels[2:]): point.value
        for point in service.metrics(end_of(0))
    }
    assert points["ebpf_net.collector.lost", (("reason", "ring_full"),)] == 3
    signal = (("signal", "tcp.state"), ("attach", "tp_btf"))
    assert points["ebpf_net.collector.signal", signal] == 1
    assert points["ebpf_net.connections", ()] == 1


def test_internal_metrics_tell_what_came_of_questions_to_a_cloud(service):
    accept(service, snapshot())
    header = make_header(0, status={"cloud_metadata.timeout": 3})
    accept(service, make_batch(header=header))
    points = {
        (point.name, point.labels[2:]): point.value
        for point in service.metrics(end_of(0))
    }
    timeouts = (("result", "timeout"),)
    assert points["ebpf_net.collector.cloud_metadata", timeouts] == 3


def test_internal_metrics_tell_how_often_a_clouds_api_was_called(service):
    accept(service, snapshot())
    header = make_header(0, status={"cloud.calls_last_hour": 1300})
    accept(service, make_batch(header=header))
    points = {
        (point.name, point.labels[2:]): point.value
        for point in service.metrics(end_of(0))
    }
    calls = (("count", "calls_last_hour"),)
    assert points["ebpf_net.collector.cloud", calls] == 1300


def test_collector_that_is_long_silent_has_no_metrics_any_more(service):
    accept(service, snapshot())
    accept(service, make_batch(header=make_header(0, status={"lost.ring_full": 3})))
    service.forget_silent(end_of(0) + DAY_NS - 1)
    assert "ebpf_net.collector.lost" in names_of(service.metrics(end_of(0)))
    service.forget_silent(end_of(0) + DAY_NS + 1)
    assert "ebpf_net.collector.lost" not in names_of(service.metrics(end_of(0)))


def test_close_delivers_what_waits(service, exporter):
    accept(service, snapshot())
    accept(service, batch(0, 7))
    service.close(1.0)
    assert exporter.total("bytes") == 7
    assert service.progress("one", "first").committed == 1
