import queue
import time
from contextlib import contextmanager

import grpc
import pytest

from ebpf_net.exporters.otlp_client import OtlpExporter
from ebpf_net.exporters.otlp_encoding import Temporality
from ebpf_net.exporters.otlp_settings import OtlpProtocol, OtlpSettings
from ebpf_net.metrics import METRICS, select_metrics
from ebpf_net.schema import InternalPoint
from ebpf_net.testing.otlp_receivers import GrpcReceiver, HttpReceiver, Reply
from ebpf_net.testing.windows import (
    START_NS,
    WINDOW_NS,
    make_large_level,
    make_level,
    make_window,
)

AWAY = Reply(code=grpc.StatusCode.UNAVAILABLE)
BYTES_ONLY = select_metrics(["tcp.all", "udp.all"], ["tcp.bytes"])
SECONDS = 20  # for what must happen; no test waits for it


def window(number, **edge):
    level = make_level([{"ip": "10.0.0.1"}], [{"bytes": number + 1} | edge])
    return make_window({"az_az": level}, START_NS + number * WINDOW_NS)


@contextmanager
def exporter_to(receiver, metrics=BYTES_ONLY, **settings):
    protocols = {GrpcReceiver: OtlpProtocol.GRPC, HttpReceiver: OtlpProtocol.HTTP}
    exporter = OtlpExporter(
        OtlpSettings(
            endpoint=receiver.endpoint,
            protocol=protocols[type(receiver)],
            **{"first_delay_seconds": 0.01, "longest_delay_seconds": 0.05} | settings,
        ),
        metrics,
    )
    try:
        yield exporter
    finally:
        exporter.close(0)


def export(exporter, *windows):
    """Export windows and return what their callbacks were told, in order of export."""
    answers = [queue.Queue() for _ in windows]
    for each, answer in zip(windows, answers, strict=True):
        exporter.export(each, answer.put)
    return [answer.get(timeout=SECONDS) for answer in answers]


def points_of(received):
    """Return {metric: [(time, value)]} of one request."""
    (resource_metrics,) = received.request.resource_metrics
    (scope_metrics,) = resource_metrics.scope_metrics
    found = {}
    for metric in scope_metrics.metrics:
        data = getattr(metric, metric.WhichOneof("data"))
        found.setdefault(metric.name, []).extend(
            ((point.time_unix_nano - START_NS) // WINDOW_NS, point.as_int)
            for point in data.data_points
        )
    return found


def take_all(receiver):
    count = receiver.received.qsize()
    return [points_of(receiver.received.get()) for _ in range(count)]


def counts(exporter):
    return {
        (point.name.removeprefix("ebpf_net.export."), dict(point.labels)["result"]): (
            point.value
        )
        for point in exporter.metrics()
        if point.name != "ebpf_net.export.queue_windows"
    }


def until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def waiting(exporter):
    (point,) = [
        point
        for point in exporter.metrics()
        if point.name == "ebpf_net.export.queue_windows"
    ]
    return point.value


@pytest.mark.parametrize("receiver_type", [GrpcReceiver, HttpReceiver])
def test_windows_are_delivered_in_order(receiver_type):
    with receiver_type() as receiver, exporter_to(receiver) as exporter:
        assert export(exporter, window(0), window(1)) == [True, True]
        assert take_all(receiver) == [{"tcp.bytes": [(1, 1)]}, {"tcp.bytes": [(2, 2)]}]
        assert counts(exporter) == {
            ("points", "success"): 2,
            ("requests", "success"): 2,
            ("windows", "success"): 2,
        }
        assert waiting(exporter) == 0


def test_window_without_points_is_delivered_at_once():
    with GrpcReceiver() as receiver, exporter_to(receiver) as exporter:
        assert export(exporter, make_window({})) == [True]
        assert receiver.received.empty()


def test_failure_for_now_is_tried_again():
    with GrpcReceiver([AWAY, AWAY]) as receiver, exporter_to(receiver) as exporter:
        assert export(exporter, window(0)) == [True]
        assert take_all(receiver) == [{"tcp.bytes": [(1, 1)]}]
        assert counts(exporter) == {
            ("points", "success"): 1,
            ("requests", "failed"): 2,
            ("requests", "success"): 1,
            ("windows", "success"): 1,
        }


def test_receiver_says_how_long_to_wait():
    reply = Reply(status=503, headers={"Retry-After": "1"})
    with HttpReceiver([reply]) as receiver, exporter_to(receiver) as exporter:
        start = time.monotonic()
        assert export(exporter, window(0)) == [True]
        assert time.monotonic() - start >= 1.0


def test_receiver_that_comes_back_gets_what_waited():
    with GrpcReceiver() as receiver:
        port = receiver.port
    with exporter_to(receiver) as exporter:
        answers = queue.Queue()
        for number in range(3):
            exporter.export(window(number), answers.put)
        until(lambda: counts(exporter).get(("requests", "failed")))
        with GrpcReceiver(port=port) as receiver:
            assert [answers.get(timeout=SECONDS) for _ in range(3)] == [True] * 3
            assert take_all(receiver) == [
                {"tcp.bytes": [(1, 1)]},
                {"tcp.bytes": [(2, 2)]},
                {"tcp.bytes": [(3, 3)]},
            ]


def test_refused_request_is_given_up_and_counted():
    reply = Reply(code=grpc.StatusCode.INVALID_ARGUMENT)
    with GrpcReceiver([reply]) as receiver, exporter_to(receiver) as exporter:
        assert export(exporter, window(0), window(1)) == [False, True]
        assert counts(exporter) == {
            ("points", "failed"): 1,
            ("points", "success"): 1,
            ("requests", "failed"): 1,
            ("requests", "success"): 1,
            ("windows", "failed"): 1,
            ("windows", "success"): 1,
        }


def test_window_is_given_up_in_the_end():
    with (
        GrpcReceiver([AWAY] * 1000) as receiver,
        exporter_to(receiver, give_up_seconds=0.2) as exporter,
    ):
        assert export(exporter, window(0)) == [False]
        assert counts(exporter)["points", "failed"] == 1


def test_window_that_cannot_be_encoded_does_not_end_the_exporter():
    with GrpcReceiver() as receiver, exporter_to(receiver) as exporter:
        assert export(exporter, window(0, dest=7), window(1)) == [False, True]
        assert counts(exporter)["windows", "failed"] == 1


def test_rejected_points_are_counted():
    reply = Reply(rejected_points=1, message="no")
    with GrpcReceiver([reply]) as receiver, exporter_to(receiver) as exporter:
        assert export(exporter, window(0)) == [True]
        assert counts(exporter) == {
            ("points", "rejected"): 1,
            ("requests", "success"): 1,
            ("windows", "success"): 1,
        }


def test_only_the_failed_request_is_sent_again():
    large = make_window({"id_id": make_large_level(100, 7_000)})
    with (
        GrpcReceiver([Reply(), AWAY]) as receiver,
        exporter_to(receiver) as exporter,
    ):
        assert export(exporter, large) == [True]
        found = take_all(receiver)
        assert len(found) == 3
        assert sum(len(points["tcp.bytes"]) for points in found) == 7_000
        assert receiver.refused.qsize() == 1


def test_oldest_waiting_window_is_dropped():
    with (
        GrpcReceiver([AWAY] * 20) as receiver,
        exporter_to(receiver, queue_windows=2) as exporter,
    ):
        in_hand = queue.Queue()
        exporter.export(window(0), in_hand.put)
        receiver.refused.get(timeout=SECONDS)
        assert export(exporter, window(1), window(2), window(3)) == [False, True, True]
        assert in_hand.get(timeout=SECONDS)
        assert [points["tcp.bytes"] for points in take_all(receiver)] == [
            [(1, 1)],
            [(3, 3)],
            [(4, 4)],
        ]
        assert counts(exporter)["windows", "dropped"] == 1


def test_totals_contain_what_was_dropped():
    with (
        GrpcReceiver([AWAY] * 10) as receiver,
        exporter_to(
            receiver, queue_windows=1, temporality=Temporality.CUMULATIVE
        ) as exporter,
    ):
        exporter.export(window(0), lambda delivered: None)
        receiver.refused.get(timeout=SECONDS)
        assert export(exporter, window(1), window(2)) == [False, True]
        assert [points["tcp.bytes"] for points in take_all(receiver)] == [
            [(1, 1)],
            [(3, 6)],
        ]


def test_cumulative_sums_start_with_their_series():
    with (
        GrpcReceiver() as receiver,
        exporter_to(receiver, METRICS, temporality=Temporality.CUMULATIVE) as exporter,
    ):
        assert export(exporter, window(0, open=2), window(1, open=3)) == [True, True]
        receiver.received.get()
        received = receiver.received.get()
        found = points_of(received)
        assert found["tcp.bytes"] == [(2, 3)]
        assert found["tcp.active"] == [(2, 3)]
        metrics = received.request.resource_metrics[0].scope_metrics[0].metrics
        (bytes_metric,) = [metric for metric in metrics if metric.name == "tcp.bytes"]
        assert bytes_metric.sum.aggregation_temporality == Temporality.CUMULATIVE
        assert bytes_metric.sum.data_points[0].start_time_unix_nano == START_NS


def test_series_over_the_limit_are_counted():
    settings = {"temporality": Temporality.CUMULATIVE, "series_limit": 0}
    with GrpcReceiver() as receiver, exporter_to(receiver, **settings) as exporter:
        assert export(exporter, window(0), window(1)) == [True, True]
        assert counts(exporter)["points", "overflowed"] == 2
        assert [points["tcp.bytes"] for points in take_all(receiver)] == [
            [(1, 1)],
            [(2, 3)],
        ]


def test_late_window_does_not_turn_totals_back():
    with (
        GrpcReceiver() as receiver,
        exporter_to(receiver, temporality=Temporality.CUMULATIVE) as exporter,
    ):
        export(exporter, window(1), window(0))
        assert [points["tcp.bytes"] for points in take_all(receiver)] == [
            [(2, 2)],
            [(2, 3)],
        ]


def test_gauges_of_a_window_in_two_parts_add_up():
    with GrpcReceiver() as receiver, exporter_to(receiver, METRICS) as exporter:
        export(exporter, window(0, open=2), window(0, open=3))
        first, second = take_all(receiver)
        assert (first["tcp.active"], second["tcp.active"]) == ([(1, 2)], [(1, 5)])
        assert (first["tcp.bytes"], second["tcp.bytes"]) == ([(1, 1)], [(1, 1)])


def test_internal_metrics_are_sent():
    with GrpcReceiver() as receiver, exporter_to(receiver) as exporter:
        exporter.export_internal([InternalPoint("ebpf_net.up", 1)], START_NS)
        received = receiver.received.get(timeout=SECONDS)
        assert points_of(received) == {"ebpf_net.up": [(0, 1)]}


def test_internal_metrics_that_cannot_be_encoded_do_not_end_the_exporter():
    with GrpcReceiver() as receiver, exporter_to(receiver) as exporter:
        exporter.export_internal([InternalPoint("ebpf_net.up", "up")], START_NS)
        until(lambda: counts(exporter).get(("requests", "failed")))
        assert export(exporter, window(0)) == [True]
        assert counts(exporter)["requests", "failed"] == 1


def test_close_delivers_what_waits():
    with GrpcReceiver() as receiver, exporter_to(receiver) as exporter:
        answers = queue.Queue()
        for number in range(5):
            exporter.export(window(number), answers.put)
        exporter.close(SECONDS)
        assert [answers.get_nowait() for _ in range(5)] == [True] * 5
        exporter.export(window(5), answers.put)
        assert answers.empty()


def test_close_leaves_unanswered_what_it_has_no_time_for():
    with GrpcReceiver([AWAY] * 1000) as receiver, exporter_to(receiver) as exporter:
        answers = queue.Queue()
        for number in range(3):
            exporter.export(window(number), answers.put)
        exporter.close(0.1)
        assert answers.empty()
        assert receiver.received.empty()
