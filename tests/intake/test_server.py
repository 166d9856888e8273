import http.client
import socket
import ssl
import time

import pytest
from tests.intake.http_requests import post, request

from ebpf_net.errors import EnvironmentFault
from ebpf_net.intake.server import IntakeServer, ServerOptions
from ebpf_net.testing.intake import MemorySink, make_snapshot


def test_both_loopback_addresses_answer(start_server):
    server = start_server()
    for host, port in server.addresses:
        connection = http.client.HTTPConnection(host, port, timeout=20)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status": "ok"}\n'
        connection.close()


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


def test_renewed_certificate_is_used_for_the_next_connection(
    start_server, authority, tmp_path
):
    def renew(name):
        issued = authority.issue(name, "DNS:localhost,IP:127.0.0.1")
        for path, new in zip(own, issued, strict=True):
            path.write_bytes(new.read_bytes())

    own = (tmp_path / "own.pem", tmp_path / "own.key")
    renew("first")
    server = start_server(tls_certificate=own[0], tls_key=own[1])
    assert common_name(server, authority) == "first"
    renew("second")
    assert common_name(server, authority) == "second"
    own[1].write_text("half written")
    assert common_name(server, authority) == "second"
    assert post(server, make_snapshot(), tls=client_context(authority))[0] == 200


def common_name(server, authority):
    context = client_context(authority)
    with (
        socket.create_connection(("127.0.0.1", server.port), 20) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as secure,
    ):
        return dict(pair[0] for pair in secure.getpeercert()["subject"])["commonName"]
