import contextlib
import socket
import threading
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.world.metadata_service import Gcp, Silent, metadata_server

from ebpf_net.collectors.kernel.instance_metadata_service import (
    Answer,
    MetadataError,
    MetadataService,
    Outcome,
    OutcomeCounts,
    as_json,
    as_label,
    as_lines,
    as_name,
    time_ns,
)

HEADERS = {"Metadata-Flavor": "Google"}
NAME = "/computeMetadata/v1/instance/name"
NOWHERE = "224.0.0.1"  # TCP has no way to a group; no packet is sent


@contextlib.contextmanager
def answering(*parts):
    """Answer one connection with bytes, and leave it open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                for part in parts:
                    connection.sendall(part)
                    if len(parts) > 1 and ended.wait(0.02):
                        return
                if len(parts) > 1:
                    ended.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        ended.set()
        thread.join()


def make_service(port, timeout_seconds=5.0, hosts=("127.0.0.1",)):
    counts = OutcomeCounts()
    return MetadataService(hosts, timeout_seconds, counts, port), counts


def refused_with(port, timeout_seconds=5.0):
    service, counts = make_service(port, timeout_seconds)
    with pytest.raises(MetadataError) as caught:
        service.read("/x", {}, as_name)
    assert counts[caught.value.outcome] == 1
    assert sum(counts.status().values()) == 1
    return caught.value


def test_an_answer_is_read_and_counted():
    with metadata_server(Gcp()) as server:
        service, counts = make_service(server.port)
        assert service.read(NAME, HEADERS, as_name) == "web-1"
    assert server.asked == [f"GET {NAME}"]
    assert counts.status()["cloud_metadata.answered"] == 1


def test_what_is_not_there_is_none_unless_it_is_required():
    with metadata_server(Gcp()) as server:
        service, counts = make_service(server.port)
        assert service.read(NAME + "x", HEADERS, as_name) is None
        with pytest.raises(MetadataError, match="does not have"):
            service.require(NAME + "x", HEADERS, as_name)
    assert counts[Outcome.ANSWERED] == counts[Outcome.FAILED] == 1


def test_a_refusal_tells_its_status():
    with metadata_server(Gcp()) as server:
        error = refused_with(server.port)
    assert (error.outcome, error.status) == (Outcome.REFUSED, 403)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (b"", Outcome.UNREACHABLE),
        (b"\xff\xfe\x00", Outcome.GARBAGE),
        (b"HTTP/1.1 two hundred\r\n\r\n", Outcome.GARBAGE),
        (b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe", Outcome.GARBAGE),
        (b"HTTP/1.1 200 OK\r\n\r\na\x00b", Outcome.GARBAGE),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"n" * 2000, Outcome.GARBAGE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", Outcome.GARBAGE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n\x01", Outcome.GARBAGE),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            Outcome.GARBAGE,
        ),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", Outcome.GARBAGE),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (600 << 10), Outcome.TOO_LARGE),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", Outcome.FAILED),
        (b"HTTP/1.1 500 Oh\r\n\r\n", Outcome.FAILED),
        (b"HTTP/1.1 429 Slow\r\n\r\n", Outcome.FAILED),
        (b"HTTP/1.1 401 No\r\n\r\n", Outcome.REFUSED),
    ],
)
def test_hostile_answers_are_counted_by_what_they_are(reply, outcome):
    with answering(reply) as port:
        assert refused_with(port).outcome == outcome


@settings(max_examples=60)
@given(st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 "]), st.binary())
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nab")
def test_bytes_of_any_kind_are_an_answer_or_a_metadata_error(begin, rest):
    with answering(begin + rest) as port:
        service, counts = make_service(port)
        with contextlib.suppress(MetadataError):
            service.read("/x", {}, as_name)
    assert sum(counts.status().values()) == 1


@pytest.mark.parametrize(
    "parts", [[b"H"], [b"x"] * 1000, [b"HTTP/1.1 200 OK\r\n\r\n", *[b"a"] * 1000]]
)
def test_a_slow_answer_costs_the_limit_and_no_more(parts):
    with answering(*parts, b"") as port:
        began = time.monotonic()
        assert refused_with(port, 0.3).outcome == Outcome.TIMEOUT
        assert 0.3 <= time.monotonic() - began < 2


def test_no_answer_at_all_costs_the_limit():
    with metadata_server(Silent()) as server:
        assert refused_with(server.port, 0.2).outcome == Outcome.TIMEOUT


def test_a_closed_port_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refused_with(port).outcome == Outcome.UNREACHABLE


def test_an_address_without_a_way_gives_place_to_the_next():
    with metadata_server(Gcp()) as server:
        service, _ = make_service(server.port, hosts=(NOWHERE, "127.0.0.1"))
        assert service.read(NAME, HEADERS, as_name) == "web-1"
    service, counts = make_service(1, hosts=(NOWHERE,))
    with pytest.raises(MetadataError):
        service.read(NAME, HEADERS, as_name)
    assert counts[Outcome.UNREACHABLE] == 1


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with metadata_server(Gcp()) as server:
        service, _ = make_service(server.port)
        assert service.read(NAME, HEADERS, as_name) == "web-1"


def test_times_of_both_kinds():
    assert time_ns("2017-09-18T08:22:00Z") == 1_505_722_920_000_000_000
    assert time_ns("Mon, 18 Sep 2017 08:22:00 GMT") == 1_505_722_920_000_000_000
    assert time_ns("18 Sep 2017 08:22:00 GMT") == 1_505_722_920_000_000_000
    assert time_ns("2017-09-18T08:22:00") == 1_505_722_920_000_000_000


@pytest.mark.parametrize(
    "text", ["", "soon", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59"]
)
def test_what_is_no_time_of_ours(text):
    with pytest.raises(ValueError, match=r"time|date"):
        time_ns(text)


@given(st.text())
def test_parsers_raise_only_value_errors(text):
    answer = Answer(text, {})
    for parse in (
        as_name,
        as_label,
        as_lines,
        as_json,
        lambda answer: time_ns(answer.text),
    ):
        with contextlib.suppress(ValueError):
            parse(answer)


def test_json_that_is_too_deep_makes_no_sense():
    with pytest.raises(ValueError, match="too deep"):
        as_json(Answer("[" * 100_000, {}))
