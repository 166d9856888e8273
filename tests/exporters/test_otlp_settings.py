from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.errors import SettingError
from ebpf_net.exporters.otlp_encoding import Temporality
from ebpf_net.exporters.otlp_settings import (
    OtlpProtocol,
    OtlpSettings,
    is_endpoint,
    otlp_settings,
)

GENERAL = "OTEL_EXPORTER_OTLP_"
METRICS = "OTEL_EXPORTER_OTLP_METRICS_"
HTTP = {GENERAL + "PROTOCOL": "http/protobuf"}


def test_nothing_set_is_plain_grpc_to_this_host():
    settings = otlp_settings({})
    assert settings.endpoint == "http://localhost:4317"
    assert settings.protocol is OtlpProtocol.GRPC
    assert settings.temporality is Temporality.DELTA
    assert settings.timeout_seconds == 10.0
    assert not settings.gzip
    assert not settings.secure
    assert settings.resource["service.name"] == "ebpf-net-reducer"


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        (HTTP, "http://localhost:4318/v1/metrics"),
        (HTTP | {GENERAL + "ENDPOINT": "http://c:4318"}, "http://c:4318/v1/metrics"),
        (
            HTTP | {GENERAL + "ENDPOINT": "https://c/otlp/"},
            "https://c/otlp/v1/metrics",
        ),
        (HTTP | {METRICS + "ENDPOINT": "http://c:1/mine"}, "http://c:1/mine"),
        (
            HTTP
            | {GENERAL + "ENDPOINT": "http://c", METRICS + "ENDPOINT": "http://d/x"},
            "http://d/x",
        ),
        ({GENERAL + "ENDPOINT": "http://c:4317"}, "http://c:4317"),
        ({GENERAL + "ENDPOINT": "c:4317"}, "https://c:4317"),
        (
            {GENERAL + "ENDPOINT": "c:4317", GENERAL + "INSECURE": "true"},
            "http://c:4317",
        ),
        (
            {GENERAL + "ENDPOINT": "https://c:4317", GENERAL + "INSECURE": "true"},
            "https://c:4317",
        ),
        ({GENERAL + "ENDPOINT": "[::1]:4317"}, "https://[::1]:4317"),
        ({GENERAL + "ENDPOINT": ""}, "http://localhost:4317"),
    ],
)
def test_endpoint_follows_the_specification(variables, endpoint):
    assert otlp_settings(variables).endpoint == endpoint


def test_endpoint_of_a_flag_is_used_when_no_variable_is_set():
    default = "http://collector:9999"
    assert otlp_settings({}, default_endpoint=default).endpoint == default
    variables = {GENERAL + "ENDPOINT": "http://other:1"}
    assert otlp_settings(variables, default_endpoint=default).endpoint == (
        "http://other:1"
    )


def test_variables_for_metrics_come_first():
    settings = otlp_settings(
        {
            GENERAL + "PROTOCOL": "grpc",
            METRICS + "PROTOCOL": "http/protobuf",
            GENERAL + "COMPRESSION": "none",
            METRICS + "COMPRESSION": "gzip",
            GENERAL + "TIMEOUT": "1",
            METRICS + "TIMEOUT": "2500",
            METRICS + "TEMPORALITY_PREFERENCE": "Cumulative",
        }
    )
    assert settings.protocol is OtlpProtocol.HTTP
    assert settings.gzip
    assert settings.timeout_seconds == 2.5
    assert settings.temporality is Temporality.CUMULATIVE


def test_headers_are_percent_decoded():
    settings = otlp_settings({GENERAL + "HEADERS": "api-key=a%20b%3Dc, other = x=y ,"})
    assert settings.headers == (("api-key", "a b=c"), ("other", "x=y"))


def test_resource_attributes_are_added():
    resource = otlp_settings(
        {
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=x,deployment.environment=prod",
            "OTEL_SERVICE_NAME": "mine",
        }
    ).resource
    assert resource["service.name"] == "mine"
    assert resource["deployment.environment"] == "prod"


def test_certificates_are_files(tmp_path):
    file = tmp_path / "ca.pem"
    file.touch()
    settings = otlp_settings(
        {
            GENERAL + "CERTIFICATE": str(file),
            GENERAL + "CLIENT_KEY": str(file),
            GENERAL + "CLIENT_CERTIFICATE": str(file),
        }
    )
    assert settings.certificate == settings.client_key == Path(file)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {GENERAL + "PROTOCOL": "http/json"},
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json',"
                " expected one of grpc, http/protobuf"
            ),
        ),
        (
            {METRICS + "COMPRESSION": "zstd"},
            (
                "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION is 'zstd',"
                " expected one of gzip, none"
            ),
        ),
        (
            {GENERAL + "TIMEOUT": "10s"},
            "OTEL_EXPORTER_OTLP_TIMEOUT is '10s', expected milliseconds",
        ),
        (
            {GENERAL + "ENDPOINT": "ftp://x"},
            "OTEL_EXPORTER_OTLP_ENDPOINT is 'ftp://x', expected http(s)://host:port",
        ),
        *(
            (
                {METRICS + "ENDPOINT": value},
                (
                    f"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT is '{value}',"
                    " expected http(s)://host:port or host:port"
                ),
            )
            for value in ("foo", "foo:", "[::1]", "foo:x", ":4317")
        ),
        (
            HTTP | {GENERAL + "ENDPOINT": "localhost:4318"},
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT is 'localhost:4318',"
                " expected http(s)://host:port"
            ),
        ),
        (
            {GENERAL + "HEADERS": "a=b,c"},
            "OTEL_EXPORTER_OTLP_HEADERS has 'c', expected key=value",
        ),
        (
            {GENERAL + "CERTIFICATE": "/none"},
            "OTEL_EXPORTER_OTLP_CERTIFICATE is '/none', which is no file",
        ),
    ],
)
def test_bad_value_is_named(variables, message):
    with pytest.raises(SettingError) as error:
        otlp_settings(variables)
    assert str(error.value) == message


def test_client_key_needs_its_certificate(tmp_path):
    with pytest.raises(SettingError, match="needs its key"):
        OtlpSettings(client_key=tmp_path)


@pytest.mark.parametrize("header", [("a b", ""), ("", ""), ("a", "b\n"), ("é", "")])
def test_header_that_cannot_be_sent_is_refused(header):
    with pytest.raises(SettingError, match="cannot be sent"):
        OtlpSettings(headers=(header,))


@given(st.text(), st.text(), st.text())
def test_any_text_gives_settings_or_a_setting_error(endpoint, headers, timeout):
    variables = {
        GENERAL + "ENDPOINT": endpoint,
        GENERAL + "HEADERS": headers,
        GENERAL + "TIMEOUT": timeout,
    }
    try:
        settings = otlp_settings(variables)
    except SettingError:
        return
    assert is_endpoint(settings.endpoint)
