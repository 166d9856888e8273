"""OTLP into a real Collector: each way of sending carries every unit."""

from pathlib import Path

import pytest
from tests.world.certificates import make_certificate
from tests.world.hosts import Network
from tests.world.load import REPLY_BYTES, REQUEST_BYTES, Load
from tests.world.otel_collector import OtelCollector, run_otel_collector
from tests.world.system import System, between

CONNECTIONS = 500


def _run_system(
    directory: Path,
    network: Network,
    collector: OtelCollector,
    environment: dict[str, str],
) -> Load:
    load = Load(network)
    with System(directory) as system:
        system.start_reducer(environment=environment)
        system.start_collector(load.client)
        load.start_short_connections(CONNECTIONS).result(60)
        system.finish()
    collector.stop()
    return load


def _assert_complete(collector: OtelCollector, load: Load) -> None:
    forth = between(load.client, load.server.address)
    back = between(load.server.address, load.client)
    total = collector.total
    assert total("tcp.bytes", forth) == CONNECTIONS * REQUEST_BYTES
    assert total("tcp.bytes", back) == CONNECTIONS * REPLY_BYTES
    assert total("tcp.new_sockets", forth) == CONNECTIONS
    assert total("tcp.connect.duration", forth) == CONNECTIONS


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_every_unit_arrives_by_either_protocol(
    network: Network,
    otel_collector: OtelCollector,
    tmp_path: Path,
    protocol: str,
    compression: str,
) -> None:
    is_grpc = protocol == "grpc"
    endpoint = otel_collector.grpc_endpoint if is_grpc else otel_collector.http_endpoint
    environment = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
    }
    load = _run_system(tmp_path, network, otel_collector, environment)
    _assert_complete(otel_collector, load)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_every_unit_arrives_over_tls(
    network: Network, tmp_path: Path, protocol: str
) -> None:
    certificate = make_certificate(tmp_path, "receiver")
    files = (certificate.certificate, certificate.key)
    with run_otel_collector(tmp_path, files) as collector:
        is_grpc = protocol == "grpc"
        endpoint = collector.grpc_endpoint if is_grpc else collector.http_endpoint
        environment = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate.certificate),
        }
        load = _run_system(tmp_path, network, collector, environment)
        _assert_complete(collector, load)


def test_units_resource_scope_and_times_are_those_declared(
    network: Network, otel_collector: OtelCollector, tmp_path: Path
) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": otel_collector.grpc_endpoint,
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
    }
    _run_system(tmp_path, network, otel_collector, environment)
    points = otel_collector.points("tcp.bytes")
    assert points
    for point in points:
        assert (point.kind, point.unit, point.temporality) == ("sum", "By", 1)
        assert point.resource["deployment.environment"] == "test"
        assert point.resource["service.name"]
        assert point.scope
        assert point.time_ns - point.start_ns == 10**9
    (kind,) = {point.kind for point in otel_collector.points("tcp.rtt")}
    assert kind == "exponentialHistogram"


def test_cumulative_sums_end_at_the_total(
    network: Network, otel_collector: OtelCollector, tmp_path: Path
) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": otel_collector.grpc_endpoint,
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "cumulative",
    }
    load = _run_system(tmp_path, network, otel_collector, environment)
    forth = between(load.client, load.server.address)
    points = otel_collector.points("tcp.bytes", forth)
    assert {point.temporality for point in points} == {2}
    values = [point.value for point in sorted(points, key=lambda p: p.time_ns)]
    assert values == sorted(values)
    assert values[-1] == CONNECTIONS * REQUEST_BYTES
