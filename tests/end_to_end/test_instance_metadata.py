"""Collectors on instances of clouds: hosts with a metadata service and its marks.

Collector, service and intake are all in network namespaces of the test.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.world import intake_rows, metadata_service
from tests.world.exposition import sum_samples
from tests.world.gateway import IPV4, forward, send_by
from tests.world.hosts import Host, Network
from tests.world.metadata_service import (
    ADDRESS,
    AWS_ADDRESS6,
    Aws,
    Azure,
    Cloud,
    Gcp,
    Silent,
)
from tests.world.ports import is_listening
from tests.world.programs import Program
from tests.world.system import command
from tests.world.waiting import wait_until
from tests.world.workers import Worker

MAPPED = 0xFFFF << 32
MARKS = {
    "aws": {"sys_vendor": "Amazon EC2", "product_name": "m7g.large"},
    "gcp": {"product_name": "Google Compute Engine"},
    "azure": {"chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"},
    "hetzner": {"sys_vendor": "Hetzner", "product_name": "vServer"},
    "none": {"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9, 2009)"},
}
COUNT_METADATA = """
table inet metadata {
    chain sent {
        type filter hook output priority 0
        ip daddr 169.254.0.0/16 counter
        ip6 daddr { fd00:ec2::254, fd20:ce::254 } counter
    }
}
"""


class Instance:
    """A host with an intake, on which collectors are started; ``root`` is its own."""

    def __init__(self, host: Host, cloud: str, directory: Path) -> None:
        self.host = host
        self.root = directory / f"root-{host.name}"
        self._data = directory / f"data-{host.name}"
        for name, text in MARKS[cloud].items():
            self.write(f"sys/class/dmi/id/{name}", text + "\n")
        self._intake = host.worker()
        self._port = self._intake.call(intake_rows.start_intake)

    def write(self, place: str, text: str) -> None:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def collect(
        self,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> Program:
        variables = [f"{name}={text}" for name, text in (environment or {}).items()]
        program = self.host.start(
            *("env", "-u", "EBPF_NET_CLOUD_METADATA", *variables),
            *(command("kernel-collector"), "--log-console", "--no-log-file"),
            *("--intake-port", str(self._port), "--interval-seconds", "1"),
            *("--host-dir", self.root, "--data-dir", self._data),
            *("--include-cgroup", self.host.cgroup.path, "--disable-other-namespaces"),
            *("--disable-container-metadata", *flags),
            log=f"collector-{len(flags)}",
        )
        if wait:
            program.wait_ready(self.windows)
        return program

    def told(self, table: str) -> list[dict[str, Any]]:
        return self._intake.call(intake_rows.told, table)

    def windows(self) -> list[tuple[int, int]]:
        return self._intake.call(intake_rows.windows)

    def outcomes(self) -> dict[str, int]:
        """Return how many questions ended how."""
        status = self._intake.call(intake_rows.last_status)
        return {
            name.removeprefix("cloud_metadata."): count
            for name, count in status.items()
            if name.startswith("cloud_metadata.") and count
        }

    def addresses(self) -> set[tuple[str, str, int, int]]:
        """Return interface, network, private and public address, the last 64 bits."""
        return {
            (
                row["interface_id"],
                row["network"],
                row["private_address_low"],
                row["public_address_low"],
            )
            for row in self.told("cloud_instance_addresses")
        }


def ipv4(text: str) -> int:
    return MAPPED | int.from_bytes(map(int, text.split(".")))


def serve(host: Host, cloud: Cloud, address: str = ADDRESS) -> Worker:
    """Let the host have a metadata address, and a cloud's service there."""
    host.ip("address", "add", address, "dev", "lo")
    worker = host.worker()
    worker.call(metadata_service.serve, cloud, address)
    return worker


@pytest.mark.parametrize(
    ("cloud", "service", "row", "addresses"),
    [
        (
            "aws",
            Aws(),
            {
                "instance_key": "aws/i-0598c7d356eba48d7",
                "account": "123456789012",
                "region": "eu-west-1",
                "zone": "eu-west-1a",
                "zone_id": "euw1-az3",
                "instance_type": "m7g.large",
                "name": "web 1",
                "lifecycle": "spot",
            },
            {
                ("eni-0aaa", "vpc-0ccc", ipv4("10.0.1.10"), ipv4("198.51.100.10")),
                ("eni-0aaa", "vpc-0ccc", ipv4("10.0.1.11"), 0),
                ("eni-0aaa", "vpc-0ccc", 0x10, 0),  # 2001:db8:1::10
                ("eni-0bbb", "vpc-0ccc", ipv4("10.0.2.20"), 0),
            },
        ),
        (
            "gcp",
            Gcp(),
            {
                "instance_key": "gcp/4520031799277581759",
                "account": "shop-prod",
                "region": "europe-west4",
                "zone": "europe-west4-b",
                "zone_id": "europe-west4-b",
                "instance_type": "e2-standard-4",
                "name": "web-1",
                "lifecycle": "spot",
            },
            {
                *[
                    (
                        "nic0",
                        "shop-prod/default",
                        ipv4("10.164.0.5"),
                        ipv4("203.0.113.7"),
                    )
                ],
                ("nic0", "shop-prod/default", ipv4("10.164.0.9"), 0),
                ("nic0", "shop-prod/default", 5, 0),  # 2001:db8:2::5
                ("nic1", "515151515151/shared", ipv4("192.168.4.5"), 0),
            },
        ),
        (
            "azure",
            Azure(),
            {
                "instance_key": "azure/02aab8a4-74ef-476e-8182-f6d2ba4166a6",
                "account": "8d10da13-8125-4ba9-a717-bf7490507b3d",
                "region": "westeurope",
                "zone": "westeurope-1",
                "zone_id": "westeurope-az2",
                "instance_type": "Standard_D4s_v5",
                "name": "web_1",
                "lifecycle": "spot",
            },
            {
                ("00:22:48:4b:6f:ac", "", ipv4("10.1.0.4"), ipv4("203.0.113.40")),
                ("00:22:48:4b:6f:ac", "", ipv4("10.1.0.5"), ipv4("203.0.113.50")),
                ("00:22:48:4b:6f:ac", "", 4, 0),  # 2001:db8:3::4
            },
        ),
    ],
)
def test_an_instance_tells_what_it_knows_of_itself(
    network: Network,
    tmp_path: Path,
    cloud: str,
    service: Cloud,
    row: Mapping[str, str],
    addresses: set[tuple[str, str, int, int]],
) -> None:
    instance = Instance(network.host("instance"), cloud, tmp_path)
    worker = serve(instance.host, service)
    proxy = dict.fromkeys(
        ("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://10.77.0.9:1"
    )
    collector = instance.collect(environment=proxy)
    wait_until(lambda: instance.addresses() == addresses, 20, instance.addresses)
    (told,) = instance.told("cloud_instances")
    assert row.items() <= told.items()
    assert told["termination_ns"] == 0
    assert collector.stop(10) == 0
    asked = worker.call(metadata_service.asked)
    assert instance.outcomes() == {"answered": len(asked)}
    assert "Traceback" not in collector.read_log()


def test_an_instance_without_a_way_by_ipv4_asks_by_ipv6(
    network: Network, tmp_path: Path
) -> None:
    instance = Instance(network.host("instance"), "aws", tmp_path)
    serve(instance.host, Aws(), AWS_ADDRESS6)
    instance.collect()
    wait_until(lambda: len(instance.addresses()) == 4, 20)


def test_the_end_of_a_spot_instance_is_told_within_seconds(
    network: Network, tmp_path: Path
) -> None:
    instance = Instance(network.host("instance"), "aws", tmp_path)
    worker = serve(instance.host, Aws())
    instance.collect()
    wait_until(lambda: instance.told("cloud_instances"), 20)
    action = json.dumps({"action": "terminate", "time": "2017-09-18T08:22:00Z"})
    worker.call(metadata_service.tell, "meta-data/spot/instance-action", action)
    wait_until(lambda: len(instance.told("cloud_instances")) == 2, 15)
    ends = [row["termination_ns"] for row in instance.told("cloud_instances")]
    assert ends == [0, 1_505_722_920_000_000_000]


def test_the_reducer_takes_it_and_tells_what_came_of_the_questions(
    network: Network, tmp_path: Path
) -> None:
    instance = Instance(network.host("instance"), "azure", tmp_path)
    worker = serve(instance.host, Azure())
    reducer = instance.host.start(
        *(command("reducer"), "--log-console", "--no-log-file"),
        *("--data-dir", tmp_path / "data-reducer", "--port", "8000"),
    )
    reducer.wait_ready(lambda: is_listening(8000, reducer.pid))
    instance.collect("--intake-port", "8000", wait=False)

    def count(name: str, **labels: str) -> float:
        return worker.call(sum_samples, 7001, name, labels)

    wait_until(lambda: count("ebpf_net_intake_rows", table="cloud_instances"), 20)
    addresses = count("ebpf_net_intake_rows", table="cloud_instance_addresses")
    assert addresses >= 3
    questions = "ebpf_net_collector_cloud_metadata"
    wait_until(lambda: count(questions, result="answered") >= 4, 20)
    assert count(questions) == count(questions, result="answered")
    assert reducer.stop(20) == 0, reducer.read_log()


def test_outside_the_clouds_no_packet_is_sent_to_a_metadata_address(
    network: Network, tmp_path: Path
) -> None:
    machine = Instance(network.host("machine"), "none", tmp_path)
    worker = serve(machine.host, Aws())
    machine.host.nft(COUNT_METADATA)
    collector = machine.collect()
    wait_until(lambda: len(machine.windows()) > 7, 30)
    assert collector.stop(10) == 0
    assert machine.host.nft_counts() == [0, 0]
    assert worker.call(metadata_service.asked) == []
    assert machine.outcomes() == {}
    assert machine.told("cloud_instances") == []
    machine.collect("--cloud-metadata", "aws")  # the same, where it is named
    wait_until(lambda: machine.told("cloud_instances"), 20)
    assert machine.host.nft_counts()[0] > 0


def test_none_asks_nobody_in_a_cloud(network: Network, tmp_path: Path) -> None:
    instance = Instance(network.host("instance"), "aws", tmp_path)
    serve(instance.host, Aws())
    instance.host.nft(COUNT_METADATA)
    instance.collect("--cloud-metadata", "none")
    wait_until(lambda: len(instance.windows()) > 4, 30)
    assert instance.host.nft_counts() == [0, 0]


def test_what_cloud_init_left_is_told_without_a_packet(
    network: Network, tmp_path: Path
) -> None:
    instance = Instance(network.host("instance"), "hetzner", tmp_path)
    facts = {"cloud_name": "hetzner", "instance_id": "3404", "local_hostname": "web"}
    data = {"v1": facts, "ds": {"meta_data": {"public-ipv4": "203.0.113.30"}}}
    instance.write("run/cloud-init/instance-data.json", json.dumps(data))
    serve(instance.host, Aws())
    instance.host.nft(COUNT_METADATA)
    instance.collect()
    wait_until(lambda: instance.told("cloud_instance_addresses"), 20)
    (told,) = instance.told("cloud_instances")
    assert (told["instance_key"], told["name"]) == ("hetzner/3404", "web")
    assert instance.addresses() == {("", "", ipv4("203.0.113.30"), 0)}
    assert instance.host.nft_counts() == [0, 0]


class Routed:
    """A container with an address of its own: the service is one hop further."""

    def __init__(self, network: Network, directory: Path, service: Aws) -> None:
        self.container = Instance(network.host("container"), "aws", directory)
        node, cloud = network.host("node"), network.host("cloud")
        forward(node)
        send_by(self.container.host, node, IPV4, ADDRESS)
        node.ip("route", "add", ADDRESS, "via", cloud.address)
        send_by(cloud, node, IPV4, self.container.host.address)
        self.worker = serve(cloud, service)


def with_hops(count: int) -> Aws:
    service = Aws()
    service.token_hops = count
    service.needs_token = False
    return service


def test_a_token_that_does_not_come_so_far_delays_nothing(
    network: Network, tmp_path: Path
) -> None:
    scene = Routed(network, tmp_path, with_hops(1))
    container = scene.container
    collector = container.collect("--cloud-metadata-timeout-ms", "700")
    wait_until(lambda: container.outcomes().get("timeout", 0) >= 3, 30)
    assert collector.stop(10) == 0
    assert set(container.outcomes()) == {"timeout"}
    assert container.told("cloud_instances") == []
    asked = set(scene.worker.call(metadata_service.asked))
    assert asked == {"PUT /latest/api/token"}
    (first, *_), windows = container.windows(), container.windows()
    assert first[1] - first[0] <= 500_000_000
    for (_, end), (start, _) in itertools.pairwise(windows):
        assert start == end
    assert collector.read_log().count("no answer within 0.7 s") == 1


@pytest.mark.parametrize(("hops", "flags"), [(2, ()), (1, ("--allow-imdsv1",))])
def test_a_container_is_told_with_a_larger_limit_or_without_a_token(
    network: Network, tmp_path: Path, hops: int, flags: tuple[str, ...]
) -> None:
    container = Routed(network, tmp_path, with_hops(hops)).container
    container.collect(*flags)
    wait_until(lambda: len(container.addresses()) == 4, 30)
    assert container.told("cloud_instances")[0]["zone_id"] == "euw1-az3"


def test_a_service_that_never_answers_delays_neither_rows_nor_the_end(
    network: Network, tmp_path: Path
) -> None:
    instance = Instance(network.host("instance"), "gcp", tmp_path)
    serve(instance.host, Silent())
    collector = instance.collect("--cloud-metadata-timeout-ms", "60000")
    wait_until(lambda: len(instance.windows()) > 3, 20)
    assert instance.outcomes() == {}
    assert collector.stop(5) == 0
    for (_, end), (start, _) in itertools.pairwise(instance.windows()):
        assert start == end
