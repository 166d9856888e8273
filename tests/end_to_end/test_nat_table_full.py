"""The table of connection tracking is full: what is there goes on, the rest fails."""

from pathlib import Path

import pytest
from tests.end_to_end.test_nat_places import FAMILIES, own_rules
from tests.world import tcp_traffic, udp_traffic
from tests.world.conntrack_table import count_conntrack_drops, full_conntrack
from tests.world.gateway import IPV4, Family
from tests.world.hosts import Network
from tests.world.nat_scene import Scene
from tests.world.tapped import TappedCollector
from tests.world.waiting import wait_until
from tests.world.workers import Worker

from ebpf_net.schema import Protocol, Role

REQUEST, REPLY, COUNT = 100, 900, 20
TCP, UDP = int(Protocol.TCP), int(Protocol.UDP)


def exact(role: Role, rounds: int, connections: int) -> dict[str, int]:
    """Return the sums of that many requests on each of COUNT connections."""
    bytes_of = {Role.CLIENT: (REQUEST, REPLY), Role.SERVER: (REPLY, REQUEST)}
    sent, received = (COUNT * rounds * size for size in bytes_of[role])
    return {
        "bytes_sent": sent,
        "bytes_received": received,
        "opened": connections,
        "closed": connections,
    }


def failures(tapped: TappedCollector, **ends: object) -> int:
    """Return the failed connects of edges, which have no bytes."""
    rows = tapped.rows("edges", connect_failures=1, **ends)
    assert sum(row["bytes_sent"] + row["bytes_received"] for row in rows) == 0
    return len(rows)


def losses(tapped: TappedCollector) -> dict[str, int]:
    lost = {k: v for k, v in tapped.status.items() if k.startswith("lost.")}
    return {reason: count for reason, count in lost.items() if count}


def begin(calling: Worker, source: str, address: str, port: int) -> None:
    calling.call(tcp_traffic.limit_syn_retries, 1)
    calling.call(tcp_traffic.open_connections, address, port, COUNT)
    calling.call(udp_traffic.exchange_datagrams, [source], address, port, 1, REQUEST)


def go_on(calling: Worker) -> None:
    calling.call(tcp_traffic.exchange, 1, REQUEST, REPLY)
    calling.call(udp_traffic.exchange_again, 1, REQUEST)


@FAMILIES
def test_connections_through_a_full_gateway_stay_exact(
    network: Network, tmp_path: Path, family: Family
) -> None:
    scene = Scene(network, family, "both")
    calling, serving = scene.client.worker(), scene.server.worker()
    scene.gateway.worker()
    near, far = family.address(scene.client), family.address(scene.server)
    serving.call(tcp_traffic.serve, far, 5000, REQUEST, REPLY)
    serving.call(udp_traffic.serve_udp, far, 5000, REPLY)
    with TappedCollector(scene.hosts("all"), tmp_path) as tapped:
        begin(calling, near, scene.asked, scene.port)
        with full_conntrack(scene.gateway, tmp_path):
            go_on(calling)
            there = (scene.asked, scene.port)
            error = calling.call(tcp_traffic.connect_in_vain, *there, 1)
            assert error == "TimeoutError"
            assert count_conntrack_drops(scene.gateway) > 1
            go_on(calling)
        calling.call(tcp_traffic.open_connections, scene.asked, scene.port, COUNT)
        calling.call(tcp_traffic.exchange, 1, REQUEST, REPLY)
        calling.call(tcp_traffic.close_connections)
        tapped.stop()
    for role in (Role.CLIENT, Role.SERVER):
        sums = tapped.sums(protocol=TCP, **scene.ends(role))
        assert sums == exact(role, 4, 2 * COUNT)
        datagrams = tapped.sums(protocol=UDP, **scene.ends(role))
        assert COUNT * datagrams["bytes_sent"] == exact(role, 3, 0)["bytes_sent"]
    assert tapped.translations() == {scene.translation}
    as_seen = {"translation_id": 0, "local": near, "remote": scene.asked}
    assert failures(tapped, **as_seen) == 1
    assert len(tapped.rows("edges", translation_id=0)) == 1
    assert losses(tapped) == {}


def test_what_the_clients_own_full_table_refuses_is_not_counted_as_sent(
    network: Network, tmp_path: Path
) -> None:
    client, server = network.host("client"), network.host("server")
    rules, outer = own_rules(IPV4, client, server)
    client.nft(rules)
    calling, serving = client.worker(), server.worker()
    serving.call(tcp_traffic.serve, server.address, 5000, REQUEST, REPLY)
    serving.call(udp_traffic.serve_udp, server.address, 5000, REPLY)
    with TappedCollector([client], tmp_path) as tapped:
        begin(calling, client.address, IPV4.service, 80)
        with full_conntrack(client, tmp_path):
            go_on(calling)
            for address, port in ((IPV4.service, 80), (server.address, 5001)):
                error = calling.call(tcp_traffic.connect_in_vain, address, port, 1)
                assert error == "TimeoutError"
                with pytest.raises(PermissionError):
                    calling.call(udp_traffic.send_datagrams, address, port, 1, REQUEST)
            go_on(calling)
        calling.call(tcp_traffic.close_connections)
        tapped.stop()
    ends = {"local": client.address, "remote": server.address, "remote_port": 5000}
    assert tapped.sums(protocol=TCP, **ends) == exact(Role.CLIENT, 2, COUNT)
    assert tapped.sums(protocol=UDP, **ends)["bytes_sent"] == 3 * REQUEST
    assert tapped.sums(protocol=UDP)["bytes_sent"] == 3 * REQUEST
    assert failures(tapped, remote=IPV4.service, remote_port=80) == 1
    assert failures(tapped, remote=server.address, remote_port=5001) == 1
    assert len(tapped.rows("edges", translation_id=0)) == 2
    told = (client.address, f"{IPV4.service} 80", outer, f"{server.address} 5000")
    assert tapped.translations() == {told}
    assert losses(tapped) == {}


def test_a_connect_that_waits_for_room_has_its_true_ends(
    network: Network, tmp_path: Path
) -> None:
    scene = Scene(network, IPV4, "both")
    calling, serving = scene.client.worker(), scene.server.worker()
    scene.gateway.worker()
    serving.call(tcp_traffic.serve, scene.server.address, 5000, REQUEST, REPLY)
    with TappedCollector(scene.hosts("all"), tmp_path) as tapped:
        with full_conntrack(scene.gateway, tmp_path):
            there = (scene.asked, scene.port)
            opening = calling.submit(tcp_traffic.open_connections, *there, 1)
            wait_until(lambda: count_conntrack_drops(scene.gateway) > 0, 30)
            tapped.wait_windows(1)
        opening.result(60)
        calling.call(tcp_traffic.exchange, COUNT, REQUEST, REPLY)
        calling.call(tcp_traffic.close_connections)
        tapped.stop()
    for role in (Role.CLIENT, Role.SERVER):
        assert tapped.sums(**scene.ends(role)) == exact(role, 1, 1)
    timeouts = sum(row["syn_timeouts"] for row in tapped.rows("edges"))
    assert timeouts > 0
    assert tapped.sums(translation_id=0)["bytes_sent"] == 0
    assert tapped.translations() == {scene.translation}
    assert losses(tapped) == {}
