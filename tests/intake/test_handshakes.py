import logging
import socket
import ssl
import time

import pytest
from tests.intake.certificates import make_authority
from tests.intake.http_requests import post, refused

from ebpf_net.testing.intake import make_snapshot

SECONDS = 20


@pytest.fixture
def server(start_server, authority):
    certificate, key = authority.issue("server", "DNS:localhost")
    return start_server(
        tls_certificate=certificate, tls_key=key, client_ca=authority.certificate
    )


def wait_for(server, count):
    end = time.monotonic() + SECONDS
    while refused(server, "tls") != count:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_clients_without_a_certificate_are_counted_and_told_once(
    server, authority, caplog
):
    tls = ssl.create_default_context(cafile=authority.certificate)
    with caplog.at_level(logging.WARNING, "ebpf_net"):
        for _ in range(3):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                post(server, make_snapshot(), tls=tls)
        wait_for(server, 3)
    assert caplog.messages == [
        (
            "refused a stranger: the TLS handshake failed:"
            " peer did not return a certificate (tls)"
        )
    ]


def test_a_certificate_of_another_authority_is_counted(
    server, authority, tmp_path_factory, caplog
):
    other = make_authority(tmp_path_factory.mktemp("other"))
    tls = ssl.create_default_context(cafile=authority.certificate)
    tls.load_cert_chain(*other.issue("collector", "DNS:collector"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        post(server, make_snapshot(), tls=tls)
    wait_for(server, 1)
    assert "its certificate is not accepted" in caplog.text


def test_what_is_not_tls_is_counted(server):
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as sender:
        sender.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(server, 1)


def test_a_good_handshake_is_not_counted(server, authority):
    tls = ssl.create_default_context(cafile=authority.certificate)
    tls.load_cert_chain(*authority.issue("collector", "DNS:collector"))
    assert post(server, make_snapshot(), tls=tls)[0] == 200
    assert refused(server, "tls") == 0
