"""Two instances of different accounts, each with a collector, and what a cloud tells.

A host between them gives each a public address, and one for those behind a NAT gateway,
as a cloud does: nobody watches it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.world import metadata_service, tcp_traffic
from tests.world.gateway import IPV4, forward, send_by
from tests.world.hosts import Host, Network
from tests.world.metadata_service import ADDRESS, AWS_MAC, Aws
from tests.world.otel_collector import OtelCollector
from tests.world.relay import Relay
from tests.world.system import System, between
from tests.world.workers import Worker

from ebpf_net.intake.batch import Batch, BatchHeader, BatchKind
from ebpf_net.intake.client import ClientOptions, IntakeClient, Spool, SpoolOptions
from ebpf_net.testing.clouds import CloudAccount
from ebpf_net.testing.intake import encode_tables, make_table

WEB_PUBLIC, API_PUBLIC, NAT_PUBLIC = "198.51.100.1", "198.51.100.2", "198.51.100.99"
WEB_VPC, API_VPC = "vpc-0web", "vpc-0api"
REQUEST, REPLY, COUNT = 300, 3000, 20
MARKS = {"sys_vendor": "Amazon EC2", "product_name": "m7g.large"}
PORT = 5000


@dataclass
class Instance:
    """A host in a cloud: what its metadata service says."""

    host: Host
    public: str
    vpc: str
    account: str
    zone: str
    zone_id: str

    def serve_metadata(self) -> None:
        cloud = Aws()
        place = f"meta-data/network/interfaces/macs/{AWS_MAC}"
        document = "dynamic/instance-identity/document"
        identity = cloud.values[document]
        for old, new in (
            ("123456789012", self.account),
            ("eu-west-1a", self.zone),
            ("i-0598c7d356eba48d7", f"i-{self.host.name}"),
        ):
            identity = identity.replace(old, new)
        cloud.values = {
            document: identity,
            "meta-data/placement/availability-zone-id": self.zone_id,
            "meta-data/network/interfaces/macs/": f"{AWS_MAC}/",
            f"{place}/interface-id": f"eni-{self.host.name}",
            f"{place}/vpc-id": self.vpc,
            f"{place}/subnet-id": f"subnet-{self.host.name}",
            f"{place}/local-ipv4s": self.host.address,
            f"{place}/ipv4-associations/": self.public,
            f"{place}/ipv4-associations/{self.public}": self.host.address,
        }
        self.host.ip("address", "add", f"{ADDRESS}/32", "dev", "lo")
        self.host.worker().call(metadata_service.serve, cloud)

    def collect(self, system: System, directory: Path) -> None:
        """Start its collector in its namespace, but outside its cgroup."""
        root = directory / f"root-{self.host.name}"
        (root / "sys/class/dmi/id").mkdir(parents=True)
        for name, text in MARKS.items():
            (root / "sys/class/dmi/id" / name).write_text(text + "\n")
        system.start_collector(
            self.host,
            *("--host-dir", str(root), "--disable-container-metadata"),
            prefix=("nsenter", f"--net=/run/netns/{self.host.netns}", "--"),
        )


@dataclass
class Scene:
    """All hosts; ``inner`` is behind the NAT gateway, ``other`` is nobody's."""

    web: Instance
    api: Instance
    database: Host
    inner: Host
    other: Host


@pytest.fixture
def scene(network: Network, system: System, tmp_path: Path) -> Iterator[Scene]:
    names = ("web", "api", "database", "inner", "other", "internet")
    web, api, database, inner, other, internet = map(network.host, names)
    made = Scene(
        Instance(web, WEB_PUBLIC, WEB_VPC, "111111111111", "eu-west-1a", "euw1-az2"),
        Instance(api, API_PUBLIC, API_VPC, "222222222222", "eu-west-1b", "euw1-az2"),
        database,
        inner,
        other,
    )
    publics = {web: WEB_PUBLIC, api: API_PUBLIC, inner: NAT_PUBLIC}
    translate(internet, {host.address: public for host, public in publics.items()})
    for host in publics:
        send_by(host, internet, IPV4, *publics.values())
    tell(system.intake_port, account(made))
    with ExitStack() as stack:
        for instance in (made.web, made.api):
            stack.enter_context(Relay(instance.host, system.intake_port))
            instance.serve_metadata()
            instance.collect(system, tmp_path)
        yield made


def translate(internet: Host, publics: Mapping[str, str]) -> None:
    """Let these private addresses have public ones, as seen from beyond this host."""
    forward(internet)
    out = "\n".join(
        f"ip saddr {one} snat to {public}" for one, public in publics.items()
    )
    into = "\n".join(
        f"ip daddr {public} dnat to {one}" for one, public in publics.items()
    )
    internet.nft(
        f"""
        table ip nat {{
            chain first {{
                type nat hook prerouting priority -100
                {into}
            }}
            chain last {{
                type nat hook postrouting priority 100
                {out}
            }}
        }}
        """
    )


def account(scene: Scene) -> CloudAccount:
    """What the cloud's collector knows: the database, and another VPC's like it."""
    made = CloudAccount("111111111111")
    made.add(
        "eni-database",
        WEB_VPC,
        [scene.database.address],
        kind="database",
        role="orders-rds",
        zone="eu-west-1c",
        zone_id="euw1-az3",
    )
    made.add("eni-twin", "vpc-0twin", [scene.database.address], name="twin")
    made.add(
        "eni-nat",
        WEB_VPC,
        ["10.77.0.200"],
        [NAT_PUBLIC],
        kind="nat_gateway",
        name="shop-nat",
        zone="eu-west-1a",
        zone_id="euw1-az2",
    )
    return made


def tell(port: int, account: CloudAccount) -> None:
    """Be the cloud's collector: tell all that is known, once."""
    now = time.time_ns() // 10**9 * 10**9

    def batch(kind: BatchKind, sequence: int, body: bytes) -> Batch:
        header = BatchHeader(
            *("cloud", "run-1", "cloud", kind, sequence, now, now + 10**9, True, {})
        )
        return Batch(header, body, 0)

    tables = {name: make_table(name, rows) for name, rows in account.tables.items()}
    client = IntakeClient(
        ClientOptions(port=port),
        Spool(SpoolOptions()),
        lambda: batch(BatchKind.SNAPSHOT, 0, encode_tables(tables)),
    )
    client.submit(batch(BatchKind.WINDOW, 1, encode_tables({})))
    assert client.close(20)


def serve(host: Host, address: str) -> Worker:
    worker = host.worker()
    worker.call(tcp_traffic.serve, address, PORT, REQUEST, REPLY)
    return worker


def test_ends_of_a_cloud_have_names_zones_and_each_byte_once(
    scene: Scene, otel_collector: OtelCollector, system: System
) -> None:
    web, api = scene.web.host, scene.api.host
    calling, inside = web.worker(), scene.inner.worker()
    for host in (api, scene.database, scene.other):
        serve(host, host.address)
    wait_for_metadata(scene, otel_collector, api.worker(), calling)
    for worker, address in (
        (calling, API_PUBLIC),
        (calling, scene.database.address),
        (inside, API_PUBLIC),
    ):
        arguments = (address, PORT, COUNT, REQUEST, REPLY)
        worker.call(tcp_traffic.make_short_connections, *arguments)
    system.finish()
    for source, dest in (
        (web.name, api.name),
        (web.name, scene.database.address),
        (NAT_PUBLIC, api.name),
    ):
        for one, other, size in ((source, dest, REQUEST), (dest, source, REPLY)):
            total = otel_collector.total("tcp.bytes", between(one, other))
            assert total == COUNT * size, (one, other)
    for nobody in (WEB_PUBLIC, API_PUBLIC):
        for end in ("source.id", "dest.id"):
            assert otel_collector.total("tcp.bytes", {end: nobody}) == 0
    check(
        otel_collector,
        web.name,
        api.name,
        {
            "source.availability_zone": "eu-west-1a",
            "source.region": "eu-west-1",
            "source.cloud.account.id": "111111111111",
            "source.cloud.zone.id": "euw1-az2",
            "source.cloud.vpc.id": WEB_VPC,
            "source.cloud.instance.id": "i-web",
            "source.ip": web.address,
            "dest.availability_zone": "eu-west-1b",
            "dest.cloud.zone.id": "euw1-az2",
            "dest.cloud.account.id": "222222222222",
            "dest.cloud.vpc.id": API_VPC,
            "dest.cloud.interface.id": "eni-api",
            "dest.cloud.subnet.id": "subnet-api",
            "dest.ip": api.address,
            "az_equal": "true",
        },
    )
    check(
        otel_collector,
        web.name,
        scene.database.address,
        {
            "dest.workload.name": "orders-rds",
            "dest.resolution_type": "AWS",
            "dest.availability_zone": "eu-west-1c",
            "dest.cloud.vpc.id": WEB_VPC,
            "dest.cloud.interface.id": "eni-database",
            "az_equal": "false",
        },
    )
    check(
        otel_collector,
        NAT_PUBLIC,
        api.name,
        {
            "source.workload.name": "shop-nat",
            "source.resolution_type": "AWS",
            "source.availability_zone": "eu-west-1a",
            "source.cloud.interface.id": "eni-nat",
            "az_equal": "true",
        },
    )


def wait_for_metadata(
    scene: Scene, otel: OtelCollector, from_api: Worker, from_web: Worker
) -> None:
    """Talk to a host that is nobody's until both instances are known."""
    arguments = (scene.other.address, PORT, 1, REQUEST, REPLY)
    for instance, worker in ((scene.api, from_api), (scene.web, from_web)):
        known = {
            "source.id": instance.host.name,
            "source.cloud.vpc.id": instance.vpc,
        }
        otel.wait_until(
            lambda c, known=known, worker=worker: (
                c.total("tcp.bytes", known) > 0
                or worker.call(tcp_traffic.make_short_connections, *arguments)
            )
        )


def check(
    otel: OtelCollector, source: str, dest: str, labels: Mapping[str, str]
) -> None:
    """All points from one end to the other have these labels."""
    points = otel.points("tcp.bytes", between(source, dest))
    found = {
        tuple((name, point.attributes.get(name)) for name in labels) for point in points
    }
    assert found == {tuple(labels.items())}
