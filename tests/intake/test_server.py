import http.client
import json
import logging
import socket
import ssl
import threading
import time

import pytest

from ebpf_net.errors import EnvironmentFault
from ebpf_net.intake.batch import CONTENT_TYPE, PATH, Batch
from ebpf_net.intake.headers import identity_headers, to_headers
from ebpf_net.intake.server import IntakeServer, Overloaded, ServerOptions
from ebpf_net.testing.intake import (
    MemorySink,
    encode_tables,
    make_batch,
    make_header,
    make_snapshot,
    make_table,
)


def request(server, method, path=PATH, body=None, headers=(), tls=None):
    host = "127.0.0.1"
    if tls is None:
        connection = http.client.HTTPConnection(host, server.port, timeout=20)
    else:
        connection = http.client.HTTPSConnection(
            "localhost", server.port, timeout=20, context=tls
        )
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, json.loads(response.read())
    finally:
        connection.close()


def headers_of(batch, **changes):
    return {
        **to_headers(batch.header, time.time_ns()),
        "Content-Type": CONTENT_TYPE,
        "Content-Encoding": "zstd",
        **changes,
    }


def post(server, batch, tls=None, **changes):
    return request(
        server, "POST", body=batch.body, headers=headers_of(batch, **changes), tls=tls
    )


def metric(server, name, *labels):
    points = {(point.name, point.labels): point.value for point in server.metrics()}
    return points.get((f"ebpf_net.intake.{name}", labels), 0)


def refused(server, reason):
    return metric(server, "refused", ("reason", reason))


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


def test_both_loopback_addresses_answer(start_server):
    server = start_server()
    for host, port in server.addresses:
        connection = http.client.HTTPConnection(host, port, timeout=20)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status": "ok"}\n'
        connection.close()


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


@pytest.mark.parametrize("head", [b"", b"POST", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_slow_head_is_cut_off(start_server, head):
    server = start_server(head_seconds=0.2)
    with socket.create_connection(("127.0.0.1", server.port), 20) as sender:
        sender.sendall(head)
        assert closed(sender)
    assert refused(server, "slow") == 1


def test_endless_head_is_cut_off(start_server):
    server = start_server()
    with socket.create_connection(("127.0.0.1", server.port), 20) as sender:
        sender.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(OSError, match=r"reset|pipe"):
            sender.sendall(b"X: %s\r\n" % (b"x" * 1000) * 100_000)
    assert refused(server, "http") == 1


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n"]
)
def test_other_protocols_get_an_answer_and_no_log_flood(start_server, junk, caplog):
    server = start_server()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", server.port), 20) as sender:
                sender.sendall(junk)
                assert sender.recv(100).startswith(b"HTTP/1.1 400 ")
    assert refused(server, "http") == 5
    assert len(caplog.records) == 1


def test_connections_are_bounded(start_server):
    server = start_server(max_connections=2)
    with (
        socket.create_connection(("127.0.0.1", server.port), 20) as first,
        socket.create_connection(("127.0.0.1", server.port), 20) as second,
    ):
        for sender in (first, second):
            sender.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sender.recv(1000).startswith(b"HTTP/1.1 200 ")
        with socket.create_connection(("127.0.0.1", server.port), 20) as third:
            assert closed(third)
    assert refused(server, "connections") == 1


def closed(sender):
    try:
        return sender.recv(1000) == b""
    except ConnectionResetError:
        return True


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


def test_fault_of_the_sink_is_an_answer(start_server):
    server = start_server(BrokenSink())
    status, _, answer = post(server, make_batch(1))
    assert (status, answer["error"]) == (500, "internal error")
    assert refused(server, "internal") == 1


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


def test_port_in_use_is_told(start_server):
    server = start_server()
    other = IntakeServer(ServerOptions(port=server.port), MemorySink())
    with pytest.raises(EnvironmentFault, match="in use"):
        other.start()


def test_close_is_quick_with_open_connections(start_server):
    server = start_server()
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
    kept = http.client.HTTPConnection("127.0.0.1", server.port)
    kept.request("GET", "/healthz")
    kept.getresponse().read()
    half = socket.create_connection(("127.0.0.1", server.port))
    half.sendall(b"POST /v1/batches HTTP/1.1\r\nContent-Length: 9\r\n")
    started = time.monotonic()
    server.close()
    assert time.monotonic() - started < 3
    for one in (*idle, kept, half):
        one.close()
    again = start_server(port=server.port)
    assert request(again, "GET", "/healthz")[0] == 200


def tls_options(authority):
    certificate, key = authority.issue("server", "DNS:localhost,IP:127.0.0.1")
    return {"tls_certificate": certificate, "tls_key": key}


def client_context(authority, client=None):
    context = ssl.create_default_context(cafile=authority.certificate)
    if client is not None:
        context.load_cert_chain(*client)
    return context


def test_tls_is_spoken_from_1_2(start_server, authority):
    server = start_server(**tls_options(authority))
    assert post(server, make_snapshot(), tls=client_context(authority))[0] == 200
    old = client_context(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        post(server, make_snapshot(), tls=old)


def test_client_without_a_certificate_is_turned_away(start_server, authority):
    server = start_server(**tls_options(authority), client_ca=authority.certificate)
    client = authority.issue("collector", "DNS:collector")
    tls = client_context(authority, client)
    assert post(server, make_snapshot(), tls=tls)[0] == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        post(server, make_snapshot(), tls=client_context(authority))
