import contextlib
import email.utils
import socket
import threading
import time

import pytest

from ebpf_net.errors import SettingError
from ebpf_net.intake.connection import ConnectionFailed, IntakeConnection
from ebpf_net.intake.options import ClientOptions
from ebpf_net.testing.intake import MemorySink, make_batch, make_snapshot


@pytest.fixture
def connect():
    with contextlib.ExitStack() as stack:

        def make(port, **options):
            connection = IntakeConnection(ClientOptions(port=port, **options))
            stack.callback(connection.close)
            return connection

        yield make


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost"])
def test_name_and_literals_are_understood(start_server, connect, host):
    connection = connect(start_server().port, host=host)
    assert connection.post(make_snapshot()).status == 200
    assert connection.post(make_batch(1)).status == 200
    assert b'"committed": 1' in connection.progress("node-1", "run-1").body


def resolve_to(monkeypatch, *answers):
    """Let the name ``reducer`` have these addresses, one list a look-up."""
    real = socket.getaddrinfo
    left = list(answers)

    def getaddrinfo(host, port, *arguments, **options):
        if host != "reducer":
            return real(host, port, *arguments, **options)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, OSError):
            raise answer
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, port))
            for one in answer
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_every_address_is_tried(start_server, connect, monkeypatch):
    port = start_server(host="127.0.0.1").port
    resolve_to(monkeypatch, ["::1", "127.0.0.2", "127.0.0.1"])
    connection = connect(port, host="reducer")
    assert connection.post(make_snapshot()).status == 200


def test_all_addresses_are_named_when_none_answers(connect, monkeypatch):
    resolve_to(monkeypatch, ["::1", "127.0.0.2"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionFailed, match=r"(?s)::1: .*127\.0\.0\.2: "):
        connect(port, host="reducer").post(make_snapshot())


def test_name_is_resolved_anew_after_a_failed_look_up(
    start_server, connect, monkeypatch
):
    failure = socket.gaierror(-3, "Temporary failure in name resolution")
    resolve_to(monkeypatch, failure, ["127.0.0.1"])
    connection = connect(start_server().port, host="reducer")
    with pytest.raises(ConnectionFailed, match="cannot resolve 'reducer'"):
        connection.post(make_snapshot())
    assert connection.post(make_snapshot()).status == 200


def test_name_is_resolved_anew_when_the_reducer_moves(
    start_server, connect, monkeypatch
):
    first = start_server(host="127.0.0.1")
    resolve_to(monkeypatch, ["127.0.0.1"], ["::1"])
    connection = connect(first.port, host="reducer")
    assert connection.post(make_snapshot()).status == 200
    first.close()
    start_server(host="::1", port=first.port)
    assert connection.post(make_snapshot()).status == 200


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, "\u2603" * 70, ""])
def test_impossible_name_is_just_a_failure(connect, host):
    with pytest.raises(ConnectionFailed):
        connect(1, host=host).post(make_snapshot())


def test_restarted_server_costs_no_failure(start_server, connect):
    first = start_server()
    connection = connect(first.port)
    connection.post(make_snapshot())
    first.close()
    start_server(port=first.port)
    assert connection.post(make_snapshot()).status == 200


def test_silent_server_is_given_up(connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = connect(listener.getsockname()[1])
        started = time.monotonic()
        with pytest.raises(ConnectionFailed, match="timed out"):
            connection.post(make_snapshot(), seconds=0.2)
        assert time.monotonic() - started < 2


def answer_once(listener, head):
    peer, _ = listener.accept()
    with peer:
        peer.recv(100_000)
        peer.sendall(head)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("7", 7, 7),
        ("in a minute", 1, 60),
        ("soon", None, None),
        ("-5", None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(connect, text, least, most):
    if text == "in a minute":
        text = email.utils.formatdate(time.time() + 60, usegmt=True)
    head = f"HTTP/1.1 503 X\r\nRetry-After: {text}\r\nContent-Length: 0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer_once, args=(listener, head.encode()))
        server.start()
        reply = connect(listener.getsockname()[1]).post(make_snapshot())
        server.join()
    assert reply.status == 503
    if least is None:
        assert reply.retry_after_seconds is None
    else:
        assert least <= reply.retry_after_seconds <= most


@pytest.mark.parametrize("junk", [b"SSH-2.0-x\r\n", b"\x15\x03\x01\x00\x02\x02\x16"])
def test_other_protocols_are_just_a_failure(connect, junk):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer_once, args=(listener, junk))
        server.start()
        with pytest.raises(ConnectionFailed):
            connect(listener.getsockname()[1]).post(make_snapshot())
        server.join()


@pytest.fixture
def tls_server(start_server, authority):
    certificate, key = authority.issue("server", "DNS:localhost")
    return start_server(
        MemorySink(),
        tls_certificate=certificate,
        tls_key=key,
        client_ca=authority.certificate,
    )


def test_mutual_tls_and_renewed_certificates(tls_server, authority, connect, tmp_path):
    certificate, key = authority.issue("collector", "DNS:collector")
    own, own_key = tmp_path / "own.pem", tmp_path / "own.key"
    own.write_bytes(certificate.read_bytes())
    own_key.write_bytes(key.read_bytes())
    options = {"host": "localhost", "tls": True, "tls_ca": authority.certificate,
               "tls_certificate": own, "tls_key": own_key}  # fmt: skip
    connection = connect(tls_server.port, **options)
    assert connection.post(make_snapshot()).status == 200
    renewed, renewed_key = authority.issue("renewed", "DNS:collector")
    own.write_bytes(renewed.read_bytes())
    own_key.write_bytes(renewed_key.read_bytes())
    connection.close()
    assert connection.post(make_snapshot()).status == 200


def test_name_in_the_certificate_is_checked(tls_server, authority, connect):
    certificate, key = authority.issue("collector", "DNS:collector")
    options = {"tls": True, "tls_ca": authority.certificate,
               "tls_certificate": certificate, "tls_key": key}  # fmt: skip
    connection = connect(tls_server.port, host="127.0.0.1", **options)
    with pytest.raises(ConnectionFailed, match="certificate"):
        connection.post(make_snapshot())


def test_reducer_that_wants_a_certificate_is_understood(tls_server, authority, connect):
    options = {"tls": True, "tls_ca": authority.certificate}
    connection = connect(tls_server.port, host="localhost", **options)
    with pytest.raises(ConnectionFailed, match="want a client certificate"):
        connection.post(make_snapshot())


def test_eof_of_tls_gets_a_hint(authority, connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            sender, _ = listener.accept()
            with sender:
                sender.recv(100_000)

        server = threading.Thread(target=hang_up)
        server.start()
        options = {"tls": True, "tls_ca": authority.certificate}
        connection = connect(listener.getsockname()[1], host="127.0.0.1", **options)
        with pytest.raises(ConnectionFailed, match=r"EOF.*\(does the reducer want"):
            connection.post(make_snapshot())
        server.join()


def test_unknown_authority_is_not_trusted(tls_server, connect):
    connection = connect(tls_server.port, host="localhost", tls=True)
    with pytest.raises(ConnectionFailed, match="certificate"):
        connection.post(make_snapshot())


def test_plain_server_does_not_pass_for_a_secure_one(start_server, authority, connect):
    options = {"tls": True, "tls_ca": authority.certificate}
    with pytest.raises(ConnectionFailed):
        connect(start_server().port, **options).post(make_snapshot())


def test_certificate_without_its_key_is_a_wrong_setting(authority):
    certificate, _ = authority.issue("keyless", "DNS:collector")
    _, other_key = authority.issue("other", "DNS:collector")
    with pytest.raises(SettingError):
        IntakeConnection(
            ClientOptions(tls=True, tls_certificate=certificate, tls_key=other_key)
        )
