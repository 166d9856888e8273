"""Bytes and their cost across zones, regions and to the internet, counted by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from tests.world import tcp_traffic, udp_traffic
from tests.world.hosts import Host, Network
from tests.world.otel_collector import OtelCollector
from tests.world.programs import Program
from tests.world.system import System, between
from tests.world.waiting import wait_until
from tests.world.workers import Worker

Key = tuple[str, str, str, str]
"""Source, dest, relation, protocol."""

PORT, REQUEST, REPLY = 5000, 200, 1000
PUBLIC = "203.0.113.7"
ZONES = {"one": "us-east-1a", "two": "us-east-1b", "three": "eu-west-1a"}
PRICES = """\
currency: EUR
unit: GB
egress:
  - {relation: cross_zone, price: 0.01}
  - {source: {region: us-east-*}, dest: {region: eu-west-1}, price: 0.02}
  - {relation: cross_region, price: 0.05}
  - {relation: internet, price: 0.0875}
ingress:
  - {relation: cross_zone, price: 0.01}
"""
DEARER_EGRESS = PRICES.replace("price: 0.01", "price: 0.07", 1)


@dataclass
class Scene:
    """Hosts in three zones and a peer with a public address, each with a server."""

    hosts: dict[str, Host]
    workers: dict[str, Worker]
    addresses: dict[str, str]

    def talk(self, client: str, server: str, count: int) -> None:
        self.workers[client].call(
            *(tcp_traffic.make_short_connections, self.addresses[server], PORT),
            *(count, REQUEST, REPLY),
        )

    def served(self, server: str) -> tcp_traffic.Served:
        return self.workers[server].call(tcp_traffic.read_served)


@pytest.fixture
def scene(network: Network) -> Scene:
    hosts = {name: network.host(name) for name in (*ZONES, "peer")}
    hosts["peer"].ip("address", "add", f"{PUBLIC}/32", "dev", "eth0")
    only = ("route", "replace", "10.77.0.0/24", "dev", "eth0", "src", PUBLIC)
    hosts["peer"].ip(*only)
    for name in ZONES:
        hosts[name].ip("route", "add", f"{PUBLIC}/32", "dev", "eth0")
    addresses = {name: host.address for name, host in hosts.items()}
    addresses["peer"] = PUBLIC
    workers = {name: host.worker() for name, host in hosts.items()}
    for name, worker in workers.items():
        worker.call(tcp_traffic.serve, addresses[name], PORT, REQUEST, REPLY)
    return Scene(hosts, workers, addresses)


def start(system: System, scene: Scene, prices: Path | None) -> Program:
    flags = ("--price-file", str(prices)) if prices else ()
    reducer = system.start_reducer(*flags)
    for name, zone in ZONES.items():
        environment = {"EBPF_NET_AGENT_ZONE": zone}
        system.start_collector(scene.hosts[name], environment=environment)
    return reducer


def ends(source: str, dest: str, relation: str, protocol: str) -> Mapping[str, str]:
    names = [PUBLIC if name == "peer" else name for name in (source, dest)]
    return {
        **between(*names),
        "zone.relation": relation,
        "network.transport": protocol,
    }


def cost(volume: int, price: str) -> float:
    """Return what bytes cost, exactly to the unit of 10^-12."""
    parts = Fraction(price) * volume * 10**12 / 10**9
    assert parts.denominator == 1
    return float(parts)


def parts(told: float) -> float:
    return float(round(told * 10**12))


def wait_for(
    system: System,
    metric: str,
    expected: Mapping[Key, float],
    read: Callable[[float], float],
) -> None:
    """Wait until Prometheus' endpoint says of each pair what is expected."""

    def told() -> dict[Key, float]:
        return {key: read(system.count_exposed(metric, ends(*key))) for key in expected}

    with suppress(TimeoutError):
        wait_until(lambda: told() == expected, 30)
    assert told() == expected


def test_cost_is_what_a_hand_counts(
    scene: Scene,
    otel_collector: OtelCollector,
    tmp_path: Path,
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    with System(tmp_path, otel_collector) as system:
        start(system, scene, prices)
        scene.talk("one", "two", 300)
        scene.talk("one", "three", 200)
        scene.talk("one", "peer", 100)
        two, three, peer = (scene.served(name) for name in ("two", "three", "peer"))
        scene.talk("one", "one", 50)
        scene.talk("peer", "two", 60)
        from_peer = scene.served("two")
        address = scene.addresses["two"]
        scene.workers["two"].call(udp_traffic.serve_udp, address, PORT, 600)
        sent = scene.workers["one"].call(
            *(udp_traffic.exchange_datagrams, [scene.addresses["one"]]),
            *(address, PORT, 40, 150),
        )
        own = scene.served("one")
        peer_sent = from_peer.bytes_received - two.bytes_received
        peer_got = from_peer.bytes_sent - two.bytes_sent
        pairs: list[tuple[str, str, str, str, int, str]] = [
            # source, dest, relation, protocol, bytes, egress and ingress a GB
            ("one", "two", "cross_zone", "tcp", two.bytes_received, "0.02"),
            ("two", "one", "cross_zone", "tcp", two.bytes_sent, "0.02"),
            ("one", "two", "cross_zone", "udp", sent.bytes_sent, "0.02"),
            ("two", "one", "cross_zone", "udp", sent.bytes_received, "0.02"),
            ("one", "three", "cross_region", "tcp", three.bytes_received, "0.02"),
            ("three", "one", "cross_region", "tcp", three.bytes_sent, "0.05"),
            ("one", "peer", "internet", "tcp", peer.bytes_received, "0.0875"),
            ("peer", "one", "internet", "tcp", peer.bytes_sent, "0"),
            ("peer", "two", "internet", "tcp", peer_sent, "0"),
            ("two", "peer", "internet", "tcp", peer_got, "0.0875"),
            (
                "one",
                "one",
                "same_zone",
                "tcp",
                own.bytes_received + own.bytes_sent,
                "0",
            ),
        ]
        assert min(volume for *_, volume, _ in pairs) > 0
        costs = {pair[:4]: cost(pair[4], pair[5]) for pair in pairs}
        volumes = {pair[:4]: pair[4] for pair in pairs}
        wait_for(system, "zone_bytes", volumes, float)
        wait_for(system, "zone_cost", costs, parts)
        system.finish()
    for key, volume in volumes.items():
        assert otel_collector.total("zone.bytes", ends(*key)) == volume, key
        assert parts(otel_collector.total("zone.cost", ends(*key))) == costs[key], key
    for level in ("id_id", "az_az"):
        everything = {"aggregation": level}
        total = otel_collector.total("zone.cost", everything)
        assert parts(total) == sum(costs.values()), level
        assert otel_collector.total("zone.bytes", everything) == sum(volumes.values())
    points = otel_collector.points("zone.cost")
    assert {(point.unit, point.kind) for point in points} == {("{EUR}", "sum")}


def test_changed_prices_count_from_then_on_and_wrong_ones_do_not(
    scene: Scene,
    tmp_path: Path,
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    key = ends("one", "two", "cross_zone", "tcp")
    volume = 50 * REQUEST
    with System(tmp_path) as system:
        reducer = start(system, scene, prices)

        def costs() -> float:
            return parts(system.count_exposed("zone_cost", key))

        scene.talk("one", "two", 50)
        wait_until(lambda: costs() == cost(volume, "0.02"), 30)
        prices.write_text(PRICES.replace("EUR", "USD"))
        wait_until(lambda: "was EUR" in reducer.read_log(), 30)
        prices.write_text(PRICES + "surprise: 1\n")
        wait_until(lambda: "line 10: 'surprise'" in reducer.read_log(), 30)
        scene.talk("one", "two", 50)
        wait_until(lambda: costs() == cost(2 * volume, "0.02"), 30)
        prices.write_text(DEARER_EGRESS)
        wait_until(lambda: "--price-file: read again" in reducer.read_log(), 30)
        scene.talk("one", "two", 50)
        more = cost(2 * volume, "0.02") + cost(volume, "0.08")
        wait_until(lambda: costs() == more, 30)


def test_without_prices_there_are_bytes_only(
    scene: Scene,
    tmp_path: Path,
) -> None:
    with System(tmp_path) as system:
        start(system, scene, None)
        scene.talk("one", "peer", 10)
        key = ends("one", "peer", "internet", "tcp")
        wait_until(lambda: system.count_exposed("zone_bytes", key) == 10 * REQUEST, 30)
        assert system.count_exposed("zone_cost", {}) == 0
