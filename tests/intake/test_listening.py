import socket

import pytest

from ebpf_net.errors import EnvironmentFault, SettingError
from ebpf_net.intake.listening import open_sockets, server_tls
from ebpf_net.intake.options import ServerOptions


def listen(**changes):
    sockets = open_sockets(ServerOptions(**{"port": 0, **changes}))
    names = [one.getsockname()[:2] for one in sockets]
    for one in sockets:
        one.close()
    return names


def test_default_is_both_loopbacks_on_one_port():
    names = listen()
    assert [address for address, _ in names] == ["127.0.0.1", "::1"]
    assert len({port for _, port in names}) == 1


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("[::1]", ["::1"]),
        ("localhost", ["127.0.0.1", "::1"]),
    ],
)
def test_loopback_needs_no_protection(host, addresses):
    assert [address for address, _ in listen(host=host)] == addresses


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_loopback_is_refused_unprotected(host):
    with pytest.raises(SettingError) as caught:
        listen(host=host)
    assert "--allow-insecure-intake" in caught.value.hint


def test_all_addresses_are_both_families(tmp_path):
    names = listen(host="::", allow_insecure=True)
    assert [address for address, _ in names] == ["::", "0.0.0.0"]
    token = tmp_path / "token"
    assert listen(host="0.0.0.0", token_file=token)[0][0] == "0.0.0.0"


def test_port_in_use_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EnvironmentFault) as caught:
            listen(port=port)
    assert str(caught.value) == f"--port: port {port} on 127.0.0.1 is in use"
    assert "--port" in caught.value.hint


def test_address_of_another_host_is_one_clear_line():
    with pytest.raises(EnvironmentFault, match=r"cannot listen on 192\.0\.2\.1"):
        listen(host="192.0.2.1", allow_insecure=True)


def test_name_that_does_not_resolve_is_a_wrong_setting():
    with pytest.raises(SettingError, match="cannot listen on"):
        listen(host="no-such-host.invalid")


def test_client_certificates_need_tls(tmp_path):
    with pytest.raises(SettingError):
        server_tls(ServerOptions(client_ca=tmp_path / "ca.pem"))


def test_certificate_that_is_none_is_a_wrong_setting(tmp_path):
    (tmp_path / "cert.pem").write_text("nothing")
    with pytest.raises(SettingError):
        server_tls(ServerOptions(tls_certificate=tmp_path / "cert.pem"))


def test_protocol_is_named_so_that_replies_leave_at_once():
    (listener,) = open_sockets(ServerOptions(host="127.0.0.1", port=0))
    with listener:
        assert listener.proto == socket.IPPROTO_TCP
