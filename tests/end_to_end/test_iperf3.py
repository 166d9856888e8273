"""iperf3 at full speed: the sequence numbers on the wire are the witness."""

import json

from tests.world import wire
from tests.world.hosts import Network
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between

BYTES, STREAMS = 400_000_000, 4


def test_bytes_equal_the_sequence_numbers_on_the_wire(
    network: Network, otel_collector: OtelCollector, system: System
) -> None:
    client, server = network.host("client"), network.host("server")
    system.start_collector(client)
    system.start_collector(server)
    serving = server.serve(5201, "iperf3", "--server", "--one-off")
    watching = client.worker()
    watching.call(wire.watch_wire, client.interface)
    report = json.loads(
        client.run(
            *("iperf3", "--client", server.address, "--json"),
            *("--bytes", str(BYTES), "--parallel", str(STREAMS)),
        )
    )
    serving.wait()
    system.finish()
    sent = watching.call(wire.read_wire)
    forth, back = between(client, server), between(server, client)
    there = sum(one.bytes for one in sent if one.source == client.address)
    here = sum(one.bytes for one in sent if one.source == server.address)
    assert len(sent) == 2 * (1 + STREAMS)
    assert there > report["end"]["sum_received"]["bytes"] > 0
    assert otel_collector.total("tcp.bytes", forth) == there
    assert otel_collector.total("tcp.bytes", back) == here
    assert otel_collector.total("tcp.new_sockets", forth) == 1 + STREAMS
