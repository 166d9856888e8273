import contextlib
import ssl
import subprocess
from datetime import UTC, datetime

import grpc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from ebpf_net.errors import ExportError, SettingError
from ebpf_net.exporters.otlp_settings import OtlpProtocol, OtlpSettings
from ebpf_net.exporters.otlp_transport import (
    Answer,
    open_transport,
    read_answer,
    read_retry_after,
    read_retry_delay,
)
from ebpf_net.exporters.protobuf_wire import bytes_field, varint_field
from ebpf_net.testing.otlp_receivers import GrpcReceiver, HttpReceiver, Reply

BODY = bytes_field(1, bytes_field(1, b""))
BOTH = pytest.mark.parametrize("receiver_type", [GrpcReceiver, HttpReceiver])
PROTOCOLS = {GrpcReceiver: OtlpProtocol.GRPC, HttpReceiver: OtlpProtocol.HTTP}


def retry_info(seconds, nanoseconds=0):
    """Return a google.rpc.Status with a RetryInfo."""
    duration = varint_field(1, seconds) + varint_field(2, nanoseconds)
    any_message = bytes_field(
        1, b"type.googleapis.com/google.rpc.RetryInfo"
    ) + bytes_field(2, bytes_field(1, duration))
    return varint_field(1, 8) + bytes_field(3, any_message)


@contextlib.contextmanager
def transport_to(receiver, **settings):
    transport = open_transport(
        OtlpSettings(
            **{"endpoint": receiver.endpoint, "protocol": PROTOCOLS[type(receiver)]}
            | settings
        )
    )
    try:
        yield transport
    finally:
        transport.close()


@BOTH
@pytest.mark.parametrize("compressed", [False, True])
def test_request_arrives_with_its_headers(receiver_type, compressed):
    headers = (("Api-Key", "secret"),)
    with (
        receiver_type() as receiver,
        transport_to(receiver, headers=headers, gzip=compressed) as transport,
    ):
        assert transport.send(BODY) == Answer()
        received = receiver.received.get_nowait()
    assert received.request == ExportMetricsServiceRequest.FromString(BODY)
    assert received.headers["api-key"] == "secret"
    assert received.headers["user-agent"].startswith("ebpf-net")


def test_http_request_names_its_content():
    with HttpReceiver() as receiver, transport_to(receiver, gzip=True) as transport:
        transport.send(BODY)
        received = receiver.received.get_nowait()
    assert received.path == "/v1/metrics"
    assert received.headers["content-type"] == "application/x-protobuf"
    assert received.headers["content-encoding"] == "gzip"


@BOTH
def test_partial_success_is_reported(receiver_type):
    reply = Reply(rejected_points=3, message="too old")
    with receiver_type([reply]) as receiver, transport_to(receiver) as transport:
        assert transport.send(BODY) == Answer(3, "too old")


@pytest.mark.parametrize(
    ("reply", "retryable", "seconds"),
    [
        (Reply(code=grpc.StatusCode.UNAVAILABLE), True, None),
        (Reply(code=grpc.StatusCode.ABORTED), True, None),
        (Reply(code=grpc.StatusCode.DATA_LOSS), True, None),
        (Reply(code=grpc.StatusCode.RESOURCE_EXHAUSTED), False, None),
        (
            Reply(
                code=grpc.StatusCode.RESOURCE_EXHAUSTED,
                details=retry_info(2, 500_000_000),
            ),
            True,
            2.5,
        ),
        (Reply(code=grpc.StatusCode.UNAVAILABLE, details=retry_info(7)), True, 7.0),
        (Reply(code=grpc.StatusCode.INVALID_ARGUMENT), False, None),
        (Reply(code=grpc.StatusCode.UNAUTHENTICATED), False, None),
        (Reply(code=grpc.StatusCode.INTERNAL), False, None),
    ],
)
def test_grpc_code_says_whether_to_try_again(reply, retryable, seconds):
    with (
        GrpcReceiver([reply]) as receiver,
        transport_to(receiver) as transport,
        pytest.raises(ExportError) as error,
    ):
        transport.send(BODY)
    assert error.value.retryable is retryable
    assert error.value.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("reply", "retryable", "seconds"),
    [
        (Reply(status=429), True, None),
        (Reply(status=503, headers={"Retry-After": "4"}), True, 4.0),
        (Reply(status=502), True, None),
        (Reply(status=504), True, None),
        (Reply(status=400), False, None),
        (Reply(status=401), False, None),
        (Reply(status=500), False, None),
        (Reply(status=301, headers={"Location": "http://127.0.0.1:1/"}), False, None),
    ],
)
def test_http_status_says_whether_to_try_again(reply, retryable, seconds):
    with (
        HttpReceiver([reply]) as receiver,
        transport_to(receiver) as transport,
        pytest.raises(ExportError) as error,
    ):
        transport.send(BODY)
    assert error.value.retryable is retryable
    assert error.value.retry_after_seconds == seconds


@BOTH
def test_receiver_that_is_away_is_worth_another_try(receiver_type):
    with receiver_type() as receiver:
        pass
    with transport_to(receiver) as transport, pytest.raises(ExportError) as error:
        transport.send(BODY)
    assert error.value.retryable


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 that is its own authority."""
    folder = tmp_path_factory.mktemp("certificates")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    options += ["-subj", "/CN=localhost"]
    name = "subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", *options, "-addext", name, *files],
        check=True,
        capture_output=True,
    )
    return key, certificate


def secure_receiver(receiver_type, certificates):
    """Return a receiver that asks for a client's certificate."""
    key, certificate = certificates
    if receiver_type is GrpcReceiver:
        pair = (key.read_bytes(), certificate.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], pair[1], True)
        return GrpcReceiver(credentials=credentials)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return HttpReceiver(tls=context)


@BOTH
def test_both_ends_show_certificates(receiver_type, certificates):
    key, certificate = certificates
    with secure_receiver(receiver_type, certificates) as receiver:
        endpoint = receiver.endpoint.replace("http:", "https:")
        own = {"client_key": key, "client_certificate": certificate}
        with transport_to(
            receiver, endpoint=endpoint, certificate=certificate, **own
        ) as transport:
            assert transport.send(BODY) == Answer()
        with (
            transport_to(receiver, endpoint=endpoint, **own) as transport,
            pytest.raises(ExportError),  # no authority that is known signed it
        ):
            transport.send(BODY)
        assert receiver.received.qsize() == 1


@BOTH
def test_certificate_that_is_none_is_a_bad_setting(receiver_type, tmp_path):
    file = tmp_path / "none.pem"
    settings = OtlpSettings(
        endpoint="https://127.0.0.1:1",
        protocol=PROTOCOLS[receiver_type],
        certificate=file,
    )
    with pytest.raises(SettingError, match=r"none\.pem"):
        open_transport(settings)


@given(st.binary())
@example(bytes_field(1, b"\x08"))
def test_any_answer_can_be_read(answer):
    assert read_answer(answer).rejected_points >= 0


def test_answer_of_protobuf_is_read():
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points = 2**40
    response.partial_success.error_message = "é"
    assert read_answer(response.SerializeToString()) == Answer(2**40, "é")


@given(st.binary())
@example(retry_info(2**63))
@example(bytes_field(3, b"\x08\x01\x12"))
def test_any_status_can_be_read(status):
    delay = read_retry_delay(status)
    assert delay is None or delay >= 0


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ("120", 120.0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, expected):
    assert read_retry_after(value, NOW) == expected


@given(st.text())
def test_any_retry_after_can_be_read(value):
    seconds = read_retry_after(value, NOW)
    assert seconds is None or seconds >= 0
