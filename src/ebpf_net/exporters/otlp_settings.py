"""Settings of the OTLP exporter, and how the standard variables give them.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from ebpf_net.errors import SettingError
from ebpf_net.exporters.otlp_encoding import Temporality, default_resource

_T = TypeVar("_T")

# What gRPC metadata and HTTP headers both allow.
_HEADER_NAME = re.compile(r"[0-9A-Za-z_.\-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")
_METRICS_PATH = "v1/metrics"
_BOOLEANS = {"true": True, "false": False}
_TEMPORALITIES = {
    "delta": Temporality.DELTA,
    "lowmemory": Temporality.DELTA,
    "cumulative": Temporality.CUMULATIVE,
}


class OtlpProtocol(Enum):
    """How requests travel; the values are those of OTEL_EXPORTER_OTLP_PROTOCOL."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


_PROTOCOLS = {protocol.value: protocol for protocol in OtlpProtocol}
DEFAULT_ENDPOINTS = {
    OtlpProtocol.GRPC: "http://localhost:4317",
    OtlpProtocol.HTTP: f"http://localhost:4318/{_METRICS_PATH}",
}


@dataclass(frozen=True)
class OtlpSettings:
    """Where and how windows are sent.

    ``endpoint`` is a whole URL; ``https`` means TLS. With HTTP its path is used as is.
    """

    endpoint: str = DEFAULT_ENDPOINTS[OtlpProtocol.GRPC]
    protocol: OtlpProtocol = OtlpProtocol.GRPC
    headers: tuple[tuple[str, str], ...] = ()
    gzip: bool = False
    timeout_seconds: float = 10.0  # of one request
    certificate: Path | None = None  # of the authorities to trust, PEM
    client_key: Path | None = None
    client_certificate: Path | None = None
    temporality: Temporality = Temporality.DELTA
    resource: Mapping[str, str] = field(default_factory=default_resource)
    queue_windows: int = 64  # that may wait; the oldest is dropped for a new one
    give_up_seconds: float = 600.0  # a window is not tried again after this long
    first_delay_seconds: float = 0.5  # before a second try; doubled at each further one
    longest_delay_seconds: float = 10.0
    stale_windows: int = 30  # a cumulative series ends unseen for this many windows
    series_limit: int = 1_000_000  # cumulative series held of each level

    def __post_init__(self) -> None:
        if bool(self.client_key) != bool(self.client_certificate):
            raise SettingError(
                "a client certificate needs its key, and a key its certificate",
                "set both OTEL_EXPORTER_OTLP_CLIENT_KEY and _CLIENT_CERTIFICATE",
            )

        for key, value in self.headers:
            if not _HEADER_NAME.fullmatch(key) or not _HEADER_VALUE.fullmatch(value):
                raise SettingError(f"'{key}' and its value cannot be sent as a header")

    @property
    def secure(self) -> bool:
        """Whether TLS is used."""
        return urlsplit(self.endpoint).scheme == "https"


def otlp_settings(
    variables: Mapping[str, str],
    default_protocol: OtlpProtocol = OtlpProtocol.GRPC,
    default_endpoint: str = "",
) -> OtlpSettings:
    """Build settings from the OTEL_* variables; raise SettingError for a bad one.

    ``default_endpoint`` is used when no variable gives one. Unlike an SDK's, the
    default temporality is delta: a series lives no longer than what it counts.
    """
    found = _Variables(variables)
    protocol = found.choice("PROTOCOL", _PROTOCOLS, default_protocol)
    return OtlpSettings(
        endpoint=_endpoint(found, protocol, default_endpoint),
        protocol=protocol,
        headers=tuple(_pairs(*found.value("HEADERS")).items()),
        gzip=found.choice("COMPRESSION", {"gzip": True, "none": False}, False),
        timeout_seconds=_timeout(*found.value("TIMEOUT")),
        certificate=_path(found, "CERTIFICATE"),
        client_key=_path(found, "CLIENT_KEY"),
        client_certificate=_path(found, "CLIENT_CERTIFICATE"),
        temporality=found.choice(
            "TEMPORALITY_PREFERENCE", _TEMPORALITIES, Temporality.DELTA
        ),
        resource=_resource(variables),
    )


class _Variables:
    """Looks up OTEL_EXPORTER_OTLP_METRICS_*, then OTEL_EXPORTER_OTLP_*; "" is unset."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def value(self, name: str) -> tuple[str, str]:
        """Return the name of the variable that is set, and its value."""
        for prefix in ("OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_"):
            value = self._variables.get(prefix + name, "").strip()
            if value:
                return prefix + name, value
        return f"OTEL_EXPORTER_OTLP_{name}", ""

    def choice(self, name: str, choices: Mapping[str, _T], default: _T) -> _T:
        """Return what a value, in any case, stands for."""
        variable, value = self.value(name)
        if not value:
            return default
        if value.lower() not in choices:
            raise SettingError(
                f"{variable} is '{value}', expected one of {', '.join(choices)}"
            )
        return choices[value.lower()]


def _endpoint(found: _Variables, protocol: OtlpProtocol, default: str) -> str:
    variable, value = found.value("ENDPOINT")
    if not value:
        return default or DEFAULT_ENDPOINTS[protocol]
    if protocol is OtlpProtocol.GRPC and "://" not in value:
        insecure = found.choice("INSECURE", _BOOLEANS, False)
        url = f"{'http' if insecure else 'https'}://{value}"
        if not is_endpoint(url) or urlsplit(url).port is None:
            raise SettingError(
                f"{variable} is '{value}', expected http(s)://host:port or host:port"
            )
        return url
    if not is_endpoint(value):
        raise SettingError(f"{variable} is '{value}', expected http(s)://host:port")
    if protocol is OtlpProtocol.HTTP and "_METRICS_" not in variable:
        return f"{value.rstrip('/')}/{_METRICS_PATH}"
    return value


def is_endpoint(value: str) -> bool:
    """Return whether this is a URL that requests can be sent to."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _pairs(variable: str, value: str) -> dict[str, str]:
    """Read ``key=value,key=value`` with percent-encoded values, as W3C baggage is."""
    pairs = {}
    for item in filter(str.strip, value.split(",")):
        key, separator, text = item.partition("=")
        if not separator or not key.strip():
            raise SettingError(f"{variable} has '{item}', expected key=value")
        pairs[unquote(key.strip())] = unquote(text.strip())
    return pairs


def _timeout(variable: str, value: str) -> float:
    """Read milliseconds."""
    if not value:
        return 10.0
    if not value.isdecimal() or int(value) == 0:
        raise SettingError(f"{variable} is '{value}', expected milliseconds")
    return int(value) / 1000


def _path(found: _Variables, name: str) -> Path | None:
    variable, value = found.value(name)
    if value and not Path(value).is_file():
        raise SettingError(f"{variable} is '{value}', which is no file")
    return Path(value) if value else None


def _resource(variables: Mapping[str, str]) -> dict[str, str]:
    name = "OTEL_RESOURCE_ATTRIBUTES"
    resource = default_resource() | _pairs(name, variables.get(name, ""))
    service = variables.get("OTEL_SERVICE_NAME", "")
    return resource | ({"service.name": service} if service else {})
