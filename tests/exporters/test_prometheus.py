import gzip
import threading
import urllib.error
import urllib.request

import pytest
import uvicorn

from ebpf_net.exporters.prometheus import (
    OPENMETRICS_TYPE,
    TEXT_TYPE,
    PrometheusExporter,
    accepts_gzip,
    metrics_app,
    wants_openmetrics,
)
from ebpf_net.metrics import METRICS
from ebpf_net.schema import InternalPoint
from ebpf_net.testing.windows import START_NS, WINDOW_NS, make_level, make_window

NODES = [{"workload.name": "a"}, {"workload.name": "b"}]


def window(number, *edges):
    return make_window(
        {"az_az": make_level(NODES, edges)}, START_NS + number * WINDOW_NS
    )


def export(exporter, *windows):
    answers = []
    for each in windows:
        exporter.export(each, answers.append)
    assert answers == [True] * len(windows)


def value_of(exporter, name, source="a"):
    values = [
        float(line.rsplit(" ", 1)[1])
        for line in exporter.render(False).decode().splitlines()
        if line.startswith(f"{name}{{") and f'source_workload_name="{source}"' in line
    ]
    return values[0] if values else None


EDGE = {"source": 0, "dest": 1, "bytes": 5, "open": 3}
OTHER_EDGE = {"source": 1, "dest": 0, "bytes": 1, "open": 1}


def test_counters_add_up_and_gauges_do_not():
    exporter = PrometheusExporter(METRICS)
    export(exporter, window(0, EDGE), window(1, EDGE))
    assert value_of(exporter, "tcp_bytes") == 10
    assert value_of(exporter, "tcp_active") == 3


def test_window_of_the_same_time_adds_to_gauges():
    exporter = PrometheusExporter(METRICS)
    export(exporter, window(0, EDGE), window(0, EDGE, OTHER_EDGE))
    assert value_of(exporter, "tcp_active") == 6
    assert value_of(exporter, "tcp_active", "b") == 1


def test_late_window_does_not_change_gauges():
    exporter = PrometheusExporter(METRICS)
    export(exporter, window(1, EDGE), window(0, EDGE, OTHER_EDGE))
    assert value_of(exporter, "tcp_bytes") == 10
    assert value_of(exporter, "tcp_active") == 3
    assert value_of(exporter, "tcp_active", "b") is None


def test_gauge_ends_with_its_edge_and_counter_when_stale():
    exporter = PrometheusExporter(METRICS, stale_windows=2)
    export(exporter, window(0, EDGE, OTHER_EDGE), window(1, EDGE))
    assert value_of(exporter, "tcp_active", "b") is None
    assert value_of(exporter, "tcp_bytes", "b") == 1
    export(exporter, window(2, EDGE))
    assert value_of(exporter, "tcp_bytes", "b") is None


def test_text_is_rendered_once_a_window():
    exporter = PrometheusExporter(METRICS)
    export(exporter, window(0, EDGE))
    first = exporter.render(True)
    assert exporter.render(True) is first
    export(exporter, window(1, EDGE))
    assert exporter.render(True) is not first


def test_series_over_the_limit_are_counted():
    exporter = PrometheusExporter(METRICS, series_limit=1)
    export(exporter, window(0, EDGE, OTHER_EDGE))
    (point,) = exporter.metrics()
    assert point.value == 1
    assert (
        'tcp_bytes{sf_product="network-explorer",aggregation="az_az",'
        'otel_metric_overflow="true"} 1\n'
    ) in exporter.render(False).decode()


def test_internal_points_replace_each_other():
    exporter = PrometheusExporter(METRICS)
    exporter.export_internal([InternalPoint("ebpf_net.up", 0)], 1)
    exporter.export_internal([InternalPoint("ebpf_net.up", 1)], 2)
    assert exporter.render_internal(False).decode().endswith("ebpf_net_up{} 1\n")


@pytest.fixture(scope="module")
def url():
    exporter = PrometheusExporter(METRICS)
    export(exporter, window(0, EDGE))
    config = uvicorn.Config(
        metrics_app(exporter.render), "127.0.0.1", 0, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    socket.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    socket.close()


def get(url, method="GET", **headers):
    request = urllib.request.Request(url, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.headers, response.read()


def test_scrape_is_text_unless_openmetrics_is_asked_for(url):
    headers, body = get(f"{url}/metrics")
    assert headers["Content-Type"] == TEXT_TYPE
    assert b"\ntcp_bytes{" in body
    headers, body = get(f"{url}/metrics", Accept="application/openmetrics-text")
    assert headers["Content-Type"] == OPENMETRICS_TYPE
    assert b"\ntcp_bytes_total{" in body
    assert body.endswith(b"# EOF\n")


def test_scrape_is_compressed_when_asked_for(url):
    plain = get(f"{url}/metrics")[1]
    headers, body = get(f"{url}/metrics", **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == plain


def test_only_get_is_answered(url):
    with pytest.raises(urllib.error.HTTPError, match="405") as error:
        get(f"{url}/metrics", method="POST")
    error.value.close()
    with pytest.raises(urllib.error.HTTPError, match="404") as error:
        get(f"{url}/other")
    error.value.close()


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=0.0.1", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=abc", False),
        ("text/plain;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5", False),
        # What Prometheus 2.42 sends.
        (
            (
                "application/openmetrics-text;version=1.0.0,"
                "application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            True,
        ),
    ],
)
def test_openmetrics_is_negotiated(accept, expected):
    assert wants_openmetrics(accept) is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [("", False), ("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False)],
)
def test_gzip_is_negotiated(accept, expected):
    assert accepts_gzip(accept) is expected
