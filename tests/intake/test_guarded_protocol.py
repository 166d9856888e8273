import logging
import socket

import pytest
from tests.intake.http_requests import refused


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
