import io
import json
import os
import queue

from ebpf_net.exporters.json_lines import JsonLinesExporter
from ebpf_net.metrics import METRICS
from ebpf_net.testing.windows import make_level, make_window

WINDOW = make_window({"az_az": make_level([{"ip": "10.0.0.1"}], [{"bytes": 7}])})

BROKEN = make_window({"az_az": make_level([], [{"dest": 7}])})


def export(exporter, window=WINDOW):
    answers = queue.Queue()
    exporter.export(window, answers.put)
    return answers.get(timeout=10)


def results(exporter):
    return {
        dict(point.labels)["result"]: point.value
        for point in exporter.metrics()
        if point.name == "ebpf_net.export.windows"
    }


def test_each_window_is_written_and_flushed():
    stream = io.StringIO()
    exporter = JsonLinesExporter(stream, METRICS)
    assert export(exporter)
    assert export(exporter)
    exporter.close(5)
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [found["tcp.bytes"] for found in objects] == [7, 7]
    assert results(exporter) == {"success": 2}


def test_closed_pipe_ends_cleanly():
    read_end, write_end = os.pipe()
    os.close(read_end)
    closed = queue.Queue()
    with open(write_end, "w") as stream:
        exporter = JsonLinesExporter(stream, METRICS, lambda: closed.put(True))
        assert not export(exporter)
        assert not export(exporter)
        exporter.close(5)
    assert closed.qsize() == 1
    assert results(exporter) == {"failed": 2}


def test_window_that_cannot_be_rendered_does_not_end_the_exporter(caplog):
    stream = io.StringIO()
    exporter = JsonLinesExporter(stream, METRICS)
    assert not export(exporter, BROKEN)
    assert export(exporter)
    exporter.close(5)
    assert len(stream.getvalue().splitlines()) == 1
    assert results(exporter) == {"failed": 1, "success": 1}
    assert caplog.messages == ["a window cannot be rendered"]


def test_window_after_close_is_not_answered():
    stream, answers = io.StringIO(), queue.Queue()
    exporter = JsonLinesExporter(stream, METRICS)
    exporter.close(5)
    exporter.export(WINDOW, answers.put)
    assert answers.empty()
    assert stream.getvalue() == ""


def test_reader_that_waits_makes_the_oldest_drop():
    read_end, write_end = os.pipe()
    answers = queue.Queue()
    nodes = [{"ip": f"10.0.0.{number}"} for number in range(100)]
    edges = [{"source": number % 100, "dest": number // 100} for number in range(900)]
    large = make_window({"az_az": make_level(nodes, edges)})  # more than a pipe holds
    with open(write_end, "w") as stream, open(read_end) as reader:
        exporter = JsonLinesExporter(stream, METRICS, queue_windows=1)
        exporter.export(large, lambda ok: answers.put(("large", ok)))
        first_line = reader.readline()  # so the large window is in hand
        exporter.export(WINDOW, lambda ok: answers.put(("old", ok)))
        exporter.export(WINDOW, lambda ok: answers.put(("new", ok)))
        assert answers.get(timeout=10) == ("old", False)
        rest = [reader.readline() for _ in range(900)]
        assert answers.get(timeout=10) == ("large", True)
        assert answers.get(timeout=10) == ("new", True)
        exporter.close(5)
    assert len([json.loads(line) for line in [first_line, *rest]]) == 901
