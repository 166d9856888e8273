"""Tests of whose certificates a client takes."""

import socket
import ssl
import threading

import pytest
from tests.intake.certificates import make_authority

from ebpf_net.intake.authorities import trusting


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """One without a key usage, which Python 3.13 refuses by itself."""
    return make_authority(tmp_path_factory.mktemp("authorities"))


def shake_hands(authority, context, name):
    certificate, key = authority.issue(name, "DNS:localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    here, there = socket.socketpair()
    here.settimeout(30)

    def answer():
        try:
            server.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        context.wrap_socket(here, server_hostname="localhost").close()
    finally:
        here.close()
        answering.join()


def test_an_authority_without_a_key_usage_is_trusted(authority):
    shake_hands(authority, trusting(authority.certificate), "by-file")
    text = authority.certificate.read_text()
    shake_hands(authority, trusting(cadata=text), "by-text")


def test_another_authority_is_not(authority, tmp_path):
    other = make_authority(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(authority, trusting(other.certificate), "of-another")


def test_names_and_certificates_are_checked():
    context = trusting()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
