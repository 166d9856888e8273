"""More edges than ``--max-edges`` at one end: each byte is counted once still."""

import pytest
from tests.world import udp_traffic
from tests.world.hosts import Network
from tests.world.otel_collector import OtelCollector
from tests.world.system import System

PEERS, ROUNDS, SIZE, REPLY = 200, 3, 120, 480
EVERYTHING = {"aggregation": "id_id"}


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("crowded", ["client", "server"])
def test_traffic_on_an_overflow_edge_counts_once(
    network: Network,
    otel_collector: OtelCollector,
    system: System,
    crowded: str,
    silent: bool,
) -> None:
    client, server = network.host("client"), network.host("server")
    calling, serving = client.worker(), server.worker()
    for host in (client, server):
        if host.name == crowded:
            system.start_collector(host, "--max-edges", "50")
        elif not silent:
            system.start_collector(host)
    if crowded == "server":
        serving.call(udp_traffic.serve_udp, server.address, 5000, REPLY)
        calling.call(
            *(udp_traffic.exchange_datagrams, client.add_addresses(PEERS)),
            *(server.address, 5000, ROUNDS, SIZE),
        )
    else:
        for address in server.add_addresses(PEERS):
            serving.call(udp_traffic.serve_udp, address, 5000, REPLY)
            calling.call(
                *(udp_traffic.exchange_datagrams, [client.address]),
                *(address, 5000, ROUNDS, SIZE),
            )
    lost = {"reason": "overflow_records"}
    otel_collector.wait_until(
        lambda c: (
            c.total("udp.packets", EVERYTHING) >= 2 * PEERS * ROUNDS
            and system.count_internal("ebpf_net_collector_lost", lost)
        )
    )
    overflow = "ebpf_net_reducer_overflow_bytes"
    told = system.count_internal(overflow, {"result": "claimed"})
    alone = system.count_internal(overflow, {"result": "alone"})
    ambiguous = system.count_internal(overflow, {"result": "ambiguous"})
    system.finish()
    total = otel_collector.total
    assert total("udp.packets", EVERYTHING) == 2 * PEERS * ROUNDS
    assert total("udp.bytes", EVERYTHING) == PEERS * ROUNDS * (SIZE + REPLY)
    assert (told > 0, alone > 0) == (not silent, silent)
    assert ambiguous == 0
