"""Metadata services of three clouds, with the answers that their documentation shows.

They listen on loopback, or on the link-local address inside a namespace of the test's;
never anywhere else. The functions at the end are for a Worker.
"""

from __future__ import annotations

import contextlib
import http.server
import ipaddress
import json
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

ADDRESS = "169.254.169.254"
AWS_ADDRESS6 = "fd00:ec2::254"
AWS_MAC = "02:29:96:8f:6a:2d"
AWS_OTHER_MAC = "02:29:96:8f:6a:2e"
_INTERFACES = "meta-data/network/interfaces/macs"


@dataclass(frozen=True)
class Reply:
    """What is answered; ``hops``: how far its packets come, 0 as far as usual."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hops: int = 0


class Cloud(Protocol):
    """What one cloud answers, by path."""

    values: dict[str, str]

    def reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply | None:
        """Return the answer; None: there never comes one."""
        ...


class Aws:
    """EC2's service. Paths of ``values`` are below ``/latest/``."""

    def __init__(self) -> None:
        self.needs_token = True
        self.token_hops = 0
        self.gives_token = True
        self.token_seconds = 21_600
        self.tokens: set[str] = set()
        self.values = dict(_AWS)

    def reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply | None:
        name = path.removeprefix("/latest/")
        if (method, name) == ("PUT", "api/token"):
            return self._give_token(headers)
        token = headers.get("x-aws-ec2-metadata-token")
        if method != "GET" or (token is None and self.needs_token):
            return Reply(401, "Unauthorized")
        if token is not None and token not in self.tokens:
            return Reply(401, "Unauthorized")
        value = self.values.get(name)
        return Reply(404, "Not Found") if value is None else Reply(200, value)

    def _give_token(self, headers: Mapping[str, str]) -> Reply | None:
        wanted = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not self.gives_token:
            return Reply(403, "Forbidden")
        if not wanted.isdigit() or not 1 <= int(wanted) <= 21_600:
            return Reply(400, "Bad Request")
        token = secrets.token_urlsafe(40) + "=="
        self.tokens.add(token)
        lasts = {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": str(self.token_seconds)}
        return Reply(200, token, lasts, self.token_hops)


class Gcp:
    """Google's service. Paths of ``values`` are below ``/computeMetadata/v1/``."""

    def __init__(self) -> None:
        self.values = dict(_GCP)
        self.is_google = True

    def reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply | None:
        if headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in headers:
            return Reply(403, "Missing Metadata-Flavor:Google header.")
        flavor = {"Metadata-Flavor": "Google"} if self.is_google else {}
        value = self.values.get(path.removeprefix("/computeMetadata/v1/"))
        if value is None:
            return Reply(404, "<!DOCTYPE html>", flavor)
        return Reply(200, value, flavor)


class Azure:
    """Azure's service. ``values`` are by place, without the version."""

    _VERSIONS: ClassVar = {
        "instance": ("2021-02-01", "2023-11-15"),
        "loadbalancer": ("2020-10-01",),
        "scheduledevents": ("2020-07-01",),
    }

    def __init__(self) -> None:
        self.values = dict(_AZURE)
        self.versions = dict(self._VERSIONS)

    def reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply | None:
        place, _, version = path.partition("?api-version=")
        place = place.removeprefix("/metadata/")
        if headers.get("metadata") != "true":
            return Reply(400, '{"error":"Bad request. Required metadata header"}')
        if version not in self.versions.get(place.split("/")[0], ()):
            return Reply(400, '{"error":"Bad request. api-version is invalid"}')
        value = self.values.get(place)
        if value is None:
            return Reply(404, '{"error":"No load balancer metadata is found"}')
        return Reply(200, value, {"Content-Type": "application/json; charset=utf-8"})


class Silent:
    """Takes questions and never answers."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply | None:
        return None


class MetadataServer(http.server.ThreadingHTTPServer):
    """Serves one cloud; ``asked`` has what was asked, as ``GET /path``."""

    daemon_threads = True
    cloud: Cloud
    asked: list[str]

    def __init__(self, cloud: Cloud, address: str = "127.0.0.1", port: int = 0) -> None:
        is_loopback = ipaddress.ip_address(address).is_loopback
        assert is_loopback or address in (ADDRESS, AWS_ADDRESS6), address
        if ":" in address:
            self.address_family = socket.AF_INET6
        super().__init__((address, port), _Handler)
        self.cloud, self.asked, self.ended = cloud, [], threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(http.server.BaseHTTPRequestHandler):
    server: MetadataServer

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        names = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.cloud.reply(self.command, self.path, names)
        if reply is None:
            self.server.ended.wait()
            return
        if reply.hops:
            option = socket.IPPROTO_IP, socket.IP_TTL, reply.hops
            self.connection.setsockopt(*option)
        with contextlib.suppress(OSError):  # nobody waits for it any more
            self._send(reply)

    do_PUT = do_GET  # noqa: N815 - as http.server calls it

    def _send(self, reply: Reply) -> None:
        body = reply.body.encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "instance"

    def log_message(self, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def metadata_server(cloud: Cloud) -> Iterator[MetadataServer]:
    """Serve a cloud on loopback."""
    server = MetadataServer(cloud)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


_serving: list[MetadataServer] = []


def serve(cloud: Cloud, address: str = ADDRESS, port: int = 80) -> None:
    """Serve a cloud for as long as the worker's process lives."""
    server = MetadataServer(cloud, address, port)
    _serving.append(server)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()


def tell(path: str, value: str | None) -> None:
    """Let a path have another value from now on, or none."""
    values = _serving[0].cloud.values
    if value is None:
        del values[path]
    else:
        values[path] = value


def asked() -> list[str]:
    """Return what was asked so far."""
    return list(_serving[0].asked)


_AWS = {
    "dynamic/instance-identity/document": json.dumps(
        {
            "accountId": "123456789012",
            "architecture": "x86_64",
            "availabilityZone": "eu-west-1a",
            "billingProducts": None,
            "imageId": "ami-0123456789abcdef0",
            "instanceId": "i-0598c7d356eba48d7",
            "instanceType": "m7g.large",
            "kernelId": None,
            "pendingTime": "2026-10-05T14:07:13Z",
            "privateIp": "10.0.1.10",
            "region": "eu-west-1",
            "version": "2017-09-30",
        },
        indent=2,
    ),
    "meta-data/placement/availability-zone-id": "euw1-az3",
    "meta-data/instance-life-cycle": "spot",
    "meta-data/tags/instance/Name": "web 1",
    "meta-data/events/maintenance/scheduled": "[]",
    f"{_INTERFACES}/": f"{AWS_MAC}/\n{AWS_OTHER_MAC}/",
    f"{_INTERFACES}/{AWS_MAC}/interface-id": "eni-0aaa",
    f"{_INTERFACES}/{AWS_MAC}/vpc-id": "vpc-0ccc",
    f"{_INTERFACES}/{AWS_MAC}/subnet-id": "subnet-0ddd",
    f"{_INTERFACES}/{AWS_MAC}/local-ipv4s": "10.0.1.10\n10.0.1.11",
    f"{_INTERFACES}/{AWS_MAC}/ipv6s": "2001:db8:1::10",
    f"{_INTERFACES}/{AWS_MAC}/ipv4-associations/": "198.51.100.10",
    f"{_INTERFACES}/{AWS_MAC}/ipv4-associations/198.51.100.10": "10.0.1.10",
    f"{_INTERFACES}/{AWS_OTHER_MAC}/interface-id": "eni-0bbb",
    f"{_INTERFACES}/{AWS_OTHER_MAC}/vpc-id": "vpc-0ccc",
    f"{_INTERFACES}/{AWS_OTHER_MAC}/subnet-id": "subnet-0eee",
    f"{_INTERFACES}/{AWS_OTHER_MAC}/local-ipv4s": "10.0.2.20",
}
_GCP = {
    "instance/id": "4520031799277581759",
    "instance/name": "web-1",
    "instance/zone": "projects/739419398126/zones/europe-west4-b",
    "instance/machine-type": "projects/739419398126/machineTypes/e2-standard-4",
    "instance/scheduling/preemptible": "TRUE",
    "instance/preempted": "FALSE",
    "instance/maintenance-event": "NONE",
    "project/project-id": "shop-prod",
    "project/numeric-project-id": "739419398126",
    "instance/network-interfaces/?recursive=true": json.dumps(
        [
            {
                "accessConfigs": [
                    {"externalIp": "203.0.113.7", "type": "ONE_TO_ONE_NAT"}
                ],
                "dnsServers": [ADDRESS],
                "forwardedIps": ["203.0.113.99"],
                "gateway": "10.164.0.1",
                "ip": "10.164.0.5",
                "ipAliases": ["10.8.0.0/24", "10.164.0.9/32"],
                "ipv6s": ["2001:db8:2::5"],
                "mac": "42:01:0a:a4:00:05",
                "mtu": 1460,
                "network": "projects/739419398126/networks/default",
                "subnetmask": "255.255.240.0",
                "targetInstanceIps": [],
            },
            {
                "accessConfigs": [{"externalIp": "", "type": "ONE_TO_ONE_NAT"}],
                "ip": "192.168.4.5",
                "mac": "42:01:c0:a8:04:05",
                "network": "projects/515151515151/networks/shared",
            },
        ]
    ),
}
_AZURE = {
    "instance/compute": json.dumps(
        {
            "azEnvironment": "AzurePublicCloud",
            "evictionPolicy": "Delete",
            "location": "westeurope",
            "name": "web_1",
            "physicalZone": "westeurope-az2",
            "priority": "Spot",
            "resourceGroupName": "shop",
            "resourceId": "/subscriptions/8d10da13/resourceGroups/shop/providers/"
            "Microsoft.Compute/virtualMachines/web_1",
            "subscriptionId": "8d10da13-8125-4ba9-a717-bf7490507b3d",
            "tagsList": [],
            "userData": "",
            "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
            "vmScaleSetName": "",
            "vmSize": "Standard_D4s_v5",
            "zone": "1",
        }
    ),
    "instance/network": json.dumps(
        {
            "interface": [
                {
                    "ipv4": {
                        "ipAddress": [
                            {
                                "privateIpAddress": "10.1.0.4",
                                "publicIpAddress": "",
                            },
                            {
                                "privateIpAddress": "10.1.0.5",
                                "publicIpAddress": "203.0.113.50",
                            },
                        ],
                        "subnet": [{"address": "10.1.0.0", "prefix": "24"}],
                    },
                    "ipv6": {"ipAddress": [{"privateIpAddress": "2001:db8:3::4"}]},
                    "macAddress": "0022484B6FAC",
                }
            ]
        }
    ),
    "loadbalancer": json.dumps(
        {
            "loadbalancer": {
                "publicIpAddresses": [
                    {
                        "frontendIpAddress": "203.0.113.40",
                        "privateIpAddress": "10.1.0.4",
                    }
                ],
                "inboundRules": [
                    {
                        "frontendIpAddress": "203.0.113.90",
                        "protocol": "tcp",
                        "frontendPort": 80,
                        "backendPort": 443,
                        "privateIpAddress": "10.1.0.4",
                    }
                ],
                "outboundRules": [],
            }
        }
    ),
    "scheduledevents": '{"DocumentIncarnation": 1, "Events": []}',
}
