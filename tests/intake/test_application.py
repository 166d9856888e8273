import socket
import threading
import time

import pyarrow as pa
import pytest
from tests.intake.http_requests import headers_of, metric, post, refused, request

from ebpf_net.intake.batch import PATH, Batch
from ebpf_net.intake.headers import identity_headers
from ebpf_net.intake.server import Overloaded
from ebpf_net.testing.intake import (
    MemorySink,
    encode_tables,
    make_batch,
    make_header,
    make_snapshot,
    make_table,
)


def test_batch_is_taken_once_after_a_snapshot(start_server):
    sink = MemorySink()
    server = start_server(sink)
    status, _, answer = post(server, make_batch(1))
    assert (status, answer["reason"]) == (409, "snapshot_needed")
    assert post(server, make_snapshot())[0] == 200
    assert post(server, make_batch(1, bytes_sent=7))[2]["duplicate"] is False
    assert post(server, make_batch(1, bytes_sent=7))[2] == {
        "committed": 1,
        "received": 1,
        "reducer": "reducer-1",
        "time_ns": 0,
        "duplicate": True,
    }
    assert sink.bytes_sent() == 7
    assert metric(server, "batches") == 2
    assert metric(server, "duplicates") == 1
    assert metric(server, "rows", ("table", "edges")) == 1


def test_table_of_a_newer_collector_does_not_cost_the_batch(start_server, caplog):
    sink = MemorySink()
    server = start_server(sink)
    post(server, make_snapshot())
    edges = make_table("edges", [{"protocol": 6, "bytes_sent": 7}])
    newer = pa.table({"moon": ["luna"], "mass": [7.3]})
    body = encode_tables({"cloud_moons": newer, "edges": edges})
    for duplicate in (False, True):
        status, _, answer = post(server, Batch(make_header(1), body, 2))
        assert (status, answer["duplicate"]) == (200, duplicate)
    assert sink.bytes_sent() == 7
    assert metric(server, "rows", ("table", "edges")) == 1
    assert metric(server, "skipped", ("reason", "unknown_table")) == 1
    assert refused(server, "table") == 0
    assert "node-1.example: table cloud_moons" in caplog.text


def test_curl_gets_a_hint(start_server):
    status, headers, answer = request(start_server(), "GET", "/")
    assert (status, answer["post"]) == (200, PATH)
    assert headers["Content-Type"] == "application/json"


def test_progress_is_told(start_server):
    server = start_server()
    post(server, make_snapshot())
    post(server, make_batch(1))
    headers = identity_headers("node-1", "run-1")
    status, _, answer = request(server, "GET", headers=headers)
    assert (status, answer["committed"]) == (200, 1)
    assert request(server, "GET")[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("POST", "/v1/other", 404, "not_found"),
        ("GET", "/../etc/passwd", 404, "not_found"),
        ("DELETE", PATH, 405, "method"),
        ("POST", "/", 405, "method"),
    ],
)
def test_other_requests_are_refused(start_server, method, path, status, reason):
    server = start_server()
    got, _, answer = request(server, method, path)
    assert (got, answer["reason"]) == (status, reason)
    assert refused(server, reason) == 1


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"Content-Type": "application/json"}, 415, "content_type"),
        ({"Content-Encoding": "gzip"}, 415, "content_encoding"),
        ({"Content-Encoding": ""}, 415, "content_encoding"),
        ({"Ebpf-Net-Sequence": "x"}, 400, "header"),
        ({"Ebpf-Net-Incarnation": "../x"}, 400, "header"),
        ({"Ebpf-Net-Status": "{" * 9000}, 400, "header"),
    ],
)
def test_wrong_head_is_refused(start_server, changes, status, reason):
    server = start_server()
    got, _, answer = post(server, make_batch(1), **changes)
    assert (got, answer["reason"]) == (status, reason)
    assert refused(server, reason) == 1
    assert metric(server, "bytes") == 0


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "zstd"),
        (b"hello", 400, "zstd"),
        (encode_tables({"edges": make_table("hosts", [{}])}), 422, "schema"),
        (encode_tables({"edges": make_table("edges", [{"role": 9}])}), 422, "values"),
    ],
)
def test_wrong_body_is_refused_and_the_server_goes_on(
    start_server, body, status, reason
):
    server = start_server()
    post(server, make_snapshot())
    got, _, answer = post(server, Batch(make_header(1), body, 1))
    assert (got, answer["reason"]) == (status, reason)
    assert refused(server, reason) == 1
    assert post(server, make_batch(1))[0] == 200


def test_body_over_the_limit_is_refused_by_its_length(start_server):
    server = start_server(max_body_bytes=1000)
    batch = Batch(make_header(1), bytes(1_000_000), 1)
    status, _, answer = post(server, batch)
    assert (status, answer["reason"]) == (413, "too_large")
    assert metric(server, "bytes") == 0


def test_body_without_a_length_is_refused_at_the_limit(start_server):
    server = start_server(max_body_bytes=100_000)
    batch = make_batch(1)
    chunks = (bytes(50_000) for _ in range(4))
    status, _, answer = request(server, "POST", body=chunks, headers=headers_of(batch))
    assert (status, answer["reason"]) == (413, "too_large")


def test_claimed_gigabyte_is_refused_at_once(start_server):
    server = start_server()
    head = headers_of(make_batch(1), **{"Content-Length": "1000000000"})
    lines = "".join(f"{name}: {text}\r\n" for name, text in head.items())
    with socket.create_connection(("127.0.0.1", server.port), 20) as sender:
        sender.sendall(f"POST {PATH} HTTP/1.1\r\n{lines}\r\n".encode())
        assert sender.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_token_is_asked_for_before_the_body(start_server, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    server = start_server(token_file=token)
    head = headers_of(make_batch(1), **{"Content-Length": "1000000"})
    for authorization in ("", "Bearer", "Bearer wrong", "Basic secret", "secret"):
        lines = "".join(f"{name}: {text}\r\n" for name, text in head.items())
        lines += f"Authorization: {authorization}\r\n"
        with socket.create_connection(("127.0.0.1", server.port), 20) as sender:
            sender.sendall(f"POST {PATH} HTTP/1.1\r\n{lines}\r\n".encode())
            assert sender.recv(1000).startswith(b"HTTP/1.1 401 ")
    assert refused(server, "unauthorized") == 5
    assert metric(server, "bytes") == 0
    assert post(server, make_snapshot(), Authorization="Bearer secret")[0] == 200
    token.write_text("changed\n")
    assert post(server, make_snapshot(), Authorization="Bearer secret")[0] == 401
    assert post(server, make_snapshot(), Authorization="bearer changed")[0] == 200


def test_slow_body_times_out(start_server):
    server = start_server(body_seconds=0.2)
    head = headers_of(make_batch(1), **{"Content-Length": "1000"})
    lines = "".join(f"{name}: {text}\r\n" for name, text in head.items())
    with socket.create_connection(("127.0.0.1", server.port), 20) as sender:
        sender.sendall(f"POST {PATH} HTTP/1.1\r\n{lines}\r\nabc".encode())
        assert sender.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert refused(server, "slow") == 1


class SlowSink(MemorySink):
    def __init__(self):
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()

    def accept(self, batch, received_ns, sent_ns):
        self.entered.release()
        assert self.go_on.wait(20)
        return super().accept(batch, received_ns, sent_ns)


def test_loop_answers_while_the_sink_is_slow_and_more_are_sent_away(start_server):
    sink = SlowSink()
    server = start_server(sink, max_decodes=1)
    answers = []
    sender = threading.Thread(
        target=lambda: answers.append(post(server, make_snapshot())[0])
    )
    sender.start()
    assert sink.entered.acquire(timeout=20)
    assert request(server, "GET", "/healthz")[0] == 200
    status, headers, answer = post(server, make_snapshot())
    assert (status, headers["Retry-After"], answer["reason"]) == (503, "1", "busy")
    sink.go_on.set()
    sender.join(20)
    assert answers == [200]
    assert refused(server, "busy") == 1


def test_bodies_in_memory_are_bounded(start_server):
    server = start_server(max_buffered_bytes=10)
    status, headers, answer = post(server, make_batch(1))
    assert (status, headers["Retry-After"], answer["reason"]) == (503, "1", "busy")


class OverloadedSink(MemorySink):
    def accept(self, batch, received_ns, sent_ns):
        raise Overloaded(7)


def test_overload_is_told_with_a_time(start_server):
    status, headers, answer = post(start_server(OverloadedSink()), make_batch(1))
    assert (status, headers["Retry-After"]) == (503, "7")
    assert answer["reason"] == "overloaded"


class BrokenSink(MemorySink):
    def accept(self, batch, received_ns, sent_ns):
        raise ZeroDivisionError


def test_fault_of_the_sink_is_an_answer_and_one_traceback(start_server, caplog):
    server = start_server(BrokenSink())
    for _ in range(3):
        status, _, answer = post(server, make_batch(1))
        assert (status, answer["error"]) == (500, "internal error")
    assert refused(server, "internal") == 3
    assert caplog.text.count("Traceback") == 1


def test_times_reach_the_sink(start_server):
    times = []

    class Clocks(MemorySink):
        def accept(self, batch, received_ns, sent_ns):
            times.append((received_ns, sent_ns))
            return super().accept(batch, received_ns, sent_ns)

    before = time.time_ns()
    post(start_server(Clocks()), make_snapshot())
    ((received_ns, sent_ns),) = times
    assert before <= sent_ns <= received_ns <= time.time_ns()
