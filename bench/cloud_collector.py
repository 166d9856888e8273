"""Memory, CPU and API calls of cloud-collector at a large AWS account; prints JSON.

An API on loopback answers as EC2 does, page by page, with interfaces and instances that
weigh what real ones do; some of them change every second. CPU time and memory are the
collector's own, as the kernel tells them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ebpf_net.intake.server import IntakeServer, ServerOptions
from ebpf_net.testing.intake import MemorySink

PROGRAM = "import sys; from ebpf_net.cli import main; sys.exit(main())"
TICKS = os.sysconf("SC_CLK_TCK")
ACCOUNT = "123456789012"
LARGEST_SHARE = 0.4
"""Of all interfaces, in one region; the others have as many each."""
REGION = re.compile(r"Credential=[^/]+/\d+/([^/]+)/")


class Region:
    """Interfaces by number; of five, four belong to instances."""

    def __init__(self, name: str, index: int, interfaces: int) -> None:
        self.name = name
        self.index = index
        self.interfaces = interfaces
        self.instances = interfaces * 4 // 5
        self.generations: Counter[int] = Counter()

    def interface(self, number: int) -> str:
        """Return an item of DescribeNetworkInterfaces."""
        uid = f"{self.index:02x}{number:015x}"
        low = f"{self.index}.{number >> 8 & 255}.{number & 255}"
        if self.generations[number]:
            low = f"{100 + self.generations[number] % 100}.{number >> 8 & 255}.9"
        addresses = [f"10.{low}"]
        if number % 10 == 0:
            addresses += [f"11.{low}", f"12.{low}", f"13.{low}"]
        public = f"<publicIp>54.{low}</publicIp>" if number % 10 == 1 else ""
        association = (
            f"<association>{public}<publicDnsName/><ipOwnerId>amazon</ipOwnerId>"
            "</association>"
            if public
            else ""
        )
        private = "".join(
            f"<item><privateIpAddress>{one}</privateIpAddress><privateDnsName>"
            f"ip-{one}.ec2.internal</privateDnsName><primary>true</primary>"
            f"{association}</item>"
            for one in addresses
        )
        if number < self.instances:
            requester, managed, description = "", "false", "Primary network interface"
            attachment = (
                f"<instanceId>i-{uid}</instanceId>"
                f"<instanceOwnerId>{ACCOUNT}</instanceOwnerId>"
            )
        else:
            requester, managed = "amazon-elb", "true"
            description = f"ELB app/balancer-{number // 3}/50dc6c495c0c9188"
            attachment = "<instanceOwnerId>amazon-elb</instanceOwnerId>"
        zone = f"{self.name}{'abc'[number % 3]}"
        return (
            f"<item><networkInterfaceId>eni-{uid}</networkInterfaceId>"
            f"<subnetId>subnet-{self.index:02x}{number % 24:015x}</subnetId>"
            f"<vpcId>vpc-{self.index:02x}{number % 4:015x}</vpcId>"
            f"<availabilityZone>{zone}</availabilityZone>"
            f"<description>{description}</description><ownerId>{ACCOUNT}</ownerId>"
            f"<requesterId>{requester}</requesterId>"
            f"<requesterManaged>{managed}</requesterManaged><status>in-use</status>"
            "<macAddress>0e:5c:7d:01:02:03</macAddress>"
            f"<privateIpAddress>{addresses[0]}</privateIpAddress>"
            f"<privateDnsName>ip-{addresses[0]}.ec2.internal</privateDnsName>"
            "<sourceDestCheck>true</sourceDestCheck><groupSet>"
            f"<item><groupId>sg-{number % 90:017x}</groupId><groupName>app"
            f"</groupName></item><item><groupId>sg-{number % 7:017x}</groupId>"
            "<groupName>all</groupName></item></groupSet><attachment>"
            f"<attachmentId>eni-attach-{uid}</attachmentId>{attachment}"
            "<deviceIndex>0</deviceIndex><networkCardIndex>0</networkCardIndex>"
            "<status>attached</status><attachTime>2026-01-"
            f"{1 + number % 28:02}T10:{number % 60:02}:{number // 60 % 60:02}.000Z"
            "</attachTime><deleteOnTermination>true</deleteOnTermination></attachment>"
            f"{association}<tagSet/><privateIpAddressesSet>{private}"
            "</privateIpAddressesSet><ipv6AddressesSet/>"
            "<interfaceType>interface</interfaceType></item>"
        )

    def instance(self, number: int) -> str:
        """Return an item of DescribeInstances, with a reservation of its own."""
        uid = f"{self.index:02x}{number:015x}"
        tags = {
            "Name": f"app-{number % 300}-{number:06}",
            "aws:autoscaling:groupName": f"app-{number % 300}",
            "team": f"team-{number % 20}",
            "environment": "production",
            "aws:ec2launchtemplate:id": "lt-0123456789abcdef0",
            "aws:ec2launchtemplate:version": "17",
        }
        shown = "".join(
            f"<item><key>{key}</key><value>{value}</value></item>"
            for key, value in tags.items()
        )
        disks = "".join(
            f"<item><deviceName>/dev/xvd{letter}</deviceName><ebs><volumeId>vol-{uid}"
            "</volumeId><status>attached</status><attachTime>2026-01-01T10:00:00.000Z"
            "</attachTime><deleteOnTermination>true</deleteOnTermination></ebs></item>"
            for letter in "ab"
        )
        interface = self.interface(number)
        return (
            f"<item><reservationId>r-{uid}</reservationId><ownerId>{ACCOUNT}</ownerId>"
            f"<groupSet/><instancesSet><item><instanceId>i-{uid}</instanceId>"
            "<imageId>ami-0123456789abcdef0</imageId><instanceState><code>16</code>"
            "<name>running</name></instanceState><instanceType>m7g."
            f"{('large', 'xlarge', '2xlarge')[number % 3]}</instanceType>"
            "<launchTime>2026-01-01T10:00:00.000Z</launchTime><placement>"
            f"<availabilityZone>{self.name}a</availabilityZone><groupName/>"
            "<tenancy>default</tenancy></placement><monitoring><state>disabled</state>"
            "</monitoring><architecture>arm64</architecture>"
            f"<blockDeviceMapping>{disks}</blockDeviceMapping>"
            f"<tagSet>{shown}</tagSet><networkInterfaceSet>{interface}"
            "</networkInterfaceSet><cpuOptions><coreCount>2</coreCount>"
            "<threadsPerCore>1</threadsPerCore></cpuOptions><metadataOptions>"
            "<state>applied</state><httpTokens>required</httpTokens></metadataOptions>"
            "</item></instancesSet></item>"
        )


class Api:
    """EC2 and STS of one account, on loopback."""

    def __init__(self, regions: list[Region]) -> None:
        self.regions = {region.name: region for region in regions}
        self.calls: Counter[str] = Counter()
        self.bytes_sent = 0
        self._lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                form = parse_qs(self.rfile.read(length).decode())
                scope = REGION.search(self.headers.get("Authorization", ""))
                body = api.answer(form, scope.group(1) if scope else "").encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, form: dict[str, list[str]], region: str) -> str:
        action = form["Action"][0]
        text = self._text(action, form, self.regions.get(region))
        with self._lock:
            self.calls[action] += 1
            self.bytes_sent += len(text)
        return text

    def _text(
        self, action: str, form: dict[str, list[str]], region: Region | None
    ) -> str:
        if action == "GetCallerIdentity":
            inner = f"<GetCallerIdentityResult><Account>{ACCOUNT}</Account>"
            return _document(action, inner + "</GetCallerIdentityResult>")
        if action == "DescribeRegions":
            names = "".join(
                f"<item><regionName>{name}</regionName></item>" for name in self.regions
            )
            return _document(action, f"<regionInfo>{names}</regionInfo>")
        assert region is not None
        if action == "DescribeAvailabilityZones":
            zones = "".join(
                f"<item><zoneName>{region.name}{letter}</zoneName><zoneId>"
                f"{region.name[:2]}{region.index}-az{number}</zoneId></item>"
                for number, letter in enumerate("abc", 1)
            )
            return _document(
                action, f"<availabilityZoneInfo>{zones}</availabilityZoneInfo>"
            )
        first = int(form.get("NextToken", ["0"])[0])
        size = int(form["MaxResults"][0])
        if action == "DescribeInstances":
            count, name, item = region.instances, "reservationSet", region.instance
        else:
            count, name = region.interfaces, "networkInterfaceSet"
            item = region.interface
        last = min(first + size, count)
        items = "".join(item(number) for number in range(first, last))
        token = f"<nextToken>{last}</nextToken>" if last < count else ""
        return _document(action, f"<{name}>{items}</{name}>{token}")

    def change(self, number: int) -> None:
        """Give one interface other addresses."""
        region = list(self.regions.values())[number % len(self.regions)]
        region.generations[number % region.interfaces] += 1

    def close(self) -> None:
        self._server.shutdown()


def _document(action: str, inner: str) -> str:
    return f'<?xml version="1.0"?><{action}Response>{inner}</{action}Response>'


def make_regions(regions: int, interfaces: int) -> list[Region]:
    largest = int(interfaces * LARGEST_SHARE)
    each = (interfaces - largest) // (regions - 1)
    counts = [interfaces - each * (regions - 1), *[each] * (regions - 1)]
    return [Region(f"r{n}-x-1", n, count) for n, count in enumerate(counts)]


class Measured:
    """The collector's process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._directory = Path("/proc", str(process.pid))

    def memory(self) -> dict[str, int]:
        """Return its memory now, and at most so far, in KiB."""
        lines = (self._directory / "status").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines)
        return {
            "rss_kib": int(values["VmRSS"].split()[0]),
            "most_rss_kib": int(values["VmHWM"].split()[0]),
            "private_kib": int(values["RssAnon"].split()[0]),
        }

    def cpu_seconds(self) -> float:
        """Return the CPU time since its start."""
        fields = (self._directory / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def started_collector(api: Api, port: int, interval_ms: int) -> Iterator[Measured]:
    variables = {
        "AWS_ENDPOINT_URL": api.url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }
    with tempfile.TemporaryDirectory(prefix="ebpfnet-bench-") as directory:
        command = [
            *(sys.executable, "-c", PROGRAM, "cloud-collector", "--provider", "aws"),
            *("--data-dir", directory, "--no-log-file", "--intake-port", str(port)),
            *("--poll-interval-ms", str(interval_ms)),
        ]
        with subprocess.Popen(command, env={**os.environ, **variables}) as process:
            try:
                yield Measured(process)
            finally:
                process.terminate()


def observe(
    measured: Measured, sink: MemorySink, api: Api, seconds: float, rate: float = 0
) -> dict[str, Any]:
    """Return what the collector took, while so many interfaces changed a second."""
    began, cpu = time.monotonic(), measured.cpu_seconds()
    batches, calls, answered = len(sink.batches), Counter(api.calls), api.bytes_sent
    most, changes = 0, 0
    while (elapsed := time.monotonic() - began) < seconds:
        while changes < elapsed * rate:
            api.change(changes)
            changes += 1
        most = max(most, measured.memory()["rss_kib"])
        time.sleep(0.05)
    sent = sink.batches[batches:]
    made = api.calls - calls
    return {
        "seconds": round(elapsed, 1),
        "changes": changes,
        "core_percent": round(100 * (measured.cpu_seconds() - cpu) / elapsed, 2),
        "api_calls_per_hour": round(made.total() / elapsed * 3600),
        "api_calls": dict(made),
        "api_bytes_per_second": round((api.bytes_sent - answered) / elapsed),
        "rows_sent": sum(t.num_rows for one in sent for t in one.tables.values()),
        "batches_sent": len(sent),
        **measured.memory(),
        "most_rss_kib": most,
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    sink = MemorySink()
    server = IntakeServer(ServerOptions(port=0), sink)
    server.start()
    api = Api(make_regions(options.regions, options.interfaces))
    began = time.monotonic()
    with started_collector(api, server.port, options.interval_ms) as measured:
        with sink.changed:
            sink.changed.wait_for(lambda: _told(sink) >= options.interfaces, 300)
        start = {
            "seconds": round(time.monotonic() - began, 2),
            "cpu_seconds": measured.cpu_seconds(),
            "api_calls": dict(api.calls),
            "api_bytes": api.bytes_sent,
            **measured.memory(),
        }
        rows = {
            name: table.num_rows
            for name, table in sink.snapshots[0].tables.items()
            if table.num_rows
        }
        rest = observe(measured, sink, api, options.seconds)
        changing = observe(measured, sink, api, options.seconds, options.rate)
        end = measured.memory()
        status = dict(sink.batches[-1].header.status)
    api.close()
    server.close()
    return {
        "regions": options.regions,
        "interfaces": options.interfaces,
        "interval_ms": options.interval_ms,
        "start": start,
        "rows": rows,
        "rest": rest,
        "changing": changing,
        "end": end,
        "status": status,
    }


def _told(sink: MemorySink) -> int:
    told = [*sink.snapshots, *sink.batches]
    return sum(one.tables["cloud_interfaces"].num_rows for one in told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interfaces", type=int, default=50_000)
    parser.add_argument("--regions", type=int, default=17)
    parser.add_argument("--interval-ms", type=int, default=60_000)
    parser.add_argument("--rate", type=float, default=1, help="changes a second")
    parser.add_argument("--seconds", type=float, default=150, help="of each phase")
    parser.add_argument("--quick", action="store_true", help="within 30 seconds")
    options = parser.parse_args()
    if options.quick:
        options.interfaces, options.seconds = 5_000, 10.0
        options.interval_ms = 5_000
    print(json.dumps(measure(options), indent=2))


if __name__ == "__main__":
    main()
