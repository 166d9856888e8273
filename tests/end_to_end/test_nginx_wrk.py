"""nginx under wrk: the access log is the witness."""

import pytest
from tests.world.hosts import Network
from tests.world.nginx import Nginx, run_wrk
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between

THREADS = 8


@pytest.mark.parametrize(
    ("close", "requests"),
    [(False, 5000), (True, 1000)],
    ids=["keep_alive", "one_connection_a_request"],
)
def test_bytes_and_connections_equal_the_access_log(
    network: Network,
    otel_collector: OtelCollector,
    system: System,
    close: bool,
    requests: int,
) -> None:
    client, server = network.host("client"), network.host("server")
    system.start_collector(client)
    system.start_collector(server)
    nginx = Nginx(server, 8080, body_bytes=1000)
    run_wrk(nginx, client, server.address, THREADS, requests, close)
    log = nginx.read_access_log()
    accepted = nginx.count_accepted()
    system.finish()
    assert log.requests == THREADS * requests
    forth, back = between(client, server), between(server, client)
    assert otel_collector.total("tcp.bytes", forth) == log.bytes_received
    assert otel_collector.total("tcp.bytes", back) == log.bytes_sent
    assert otel_collector.total("tcp.new_sockets", forth) == accepted
    assert otel_collector.total("tcp.new_sockets", back) == accepted


def test_what_the_server_alone_reports_equals_the_access_log(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    system.start_collector(server)
    nginx = Nginx(server, 8080, body_bytes=1000)
    run_wrk(nginx, client, server.address, THREADS, 2000, close=False)
    log = nginx.read_access_log()
    system.finish()
    forth, back = between(client.address, server), between(server, client.address)
    assert otel_collector.total("tcp.bytes", forth) == log.bytes_received
    assert otel_collector.total("tcp.bytes", back) == log.bytes_sent
    assert otel_collector.total("tcp.new_sockets", back) == nginx.count_accepted()
