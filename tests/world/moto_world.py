"""AWS for tests: moto's API over HTTP on loopback, with what it lacks.

moto gives all network interfaces at once; here they come in pages. Permissions,
throttling and faults are what a test says.
"""

from __future__ import annotations

import io
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

ACCOUNT: str = DEFAULT_ACCOUNT_ID
"""The account of whoever has not taken a role."""
OTHER_ACCOUNT = "210987654321"
REGIONS = ("eu-west-1", "us-east-1", "us-west-2")
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}

_SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/")
_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}'
    "</Code><Message>{message}</Message></Error></Errors><RequestID>r</RequestID>"
    "</Response>"
)
_STS_ERROR = (
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
    "<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    "<RequestId>r</RequestId></ErrorResponse>"
)


def role_arn(account: str) -> str:
    return f"arn:aws:iam::{account}:role/ebpf-net"


@dataclass(frozen=True)
class Call:
    """One request of a client. Roles have access keys of their own."""

    action: str
    region: str
    key: str


@dataclass
class Fault:
    """What is answered instead, so many times."""

    code: str
    status: int = 400
    message: str = "as the test wants it"
    times: int = 1 << 30
    headers: dict[str, str] = field(default_factory=dict)


def denied(permission: str) -> Fault:
    """Return how AWS refuses what a policy does not allow."""
    service, _, action = permission.partition(":")
    message = (
        f"You are not authorized to perform this operation. User: arn:aws:iam::"
        f"{ACCOUNT}:user/u is not authorized to perform: {permission} because no "
        f"identity-based policy allows the {permission} action"
    )
    code = "UnauthorizedOperation" if service == "ec2" else "AccessDenied"
    assert action
    return Fault(code, 403, message)


class MotoWorld:
    """A server; ``url`` is its endpoint."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[tuple[Callable[[Call], bool], Fault]] = []
        self._calls: list[Call] = []
        self._application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._serve, True, request_handler=_Handler
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a client that must not leave loopback."""
        return {
            **KEYS,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }

    # What is answered

    def fail(
        self, fault: Fault, action: str = "", region: str = "", key: str = ""
    ) -> Fault:
        """Answer some calls with a fault, until ``mend``."""

        def matches(call: Call) -> bool:
            return (
                action in ("", call.action)
                and region in ("", call.region)
                and key in ("", call.key)
            )

        with self._lock:
            self._faults.append((matches, fault))
        return fault

    def mend(self) -> None:
        with self._lock:
            self._faults.clear()

    def calls(self, *actions: str) -> Counter[str]:
        """Return how often each operation was called."""
        with self._lock:
            found = Counter(call.action for call in self._calls)
        return Counter({k: n for k, n in found.items() if not actions or k in actions})

    def forget_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    def _serve(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        body = request.get_data(cache=True, parse_form_data=False)
        call = _read_call(request, body)
        with self._lock:
            self._calls.append(call)
            fault = self._find_fault(call)
        if fault is not None:
            form = _STS_ERROR if call.action in _STS_ACTIONS else _ERROR
            text = form.format(code=fault.code, message=fault.message)
            headers = {"Content-Type": "text/xml", **fault.headers}
            return Response(text, fault.status, headers)(environ, start_response)
        environ["wsgi.input"] = io.BytesIO(body)
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer

    def _find_fault(self, call: Call) -> Fault | None:
        for matches, fault in self._faults:
            if fault.times > 0 and matches(call):
                fault.times -= 1
                return fault
        return None


_STS_ACTIONS = ("AssumeRole", "GetCallerIdentity")


class _Handler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *args: Any, **kwargs: Any) -> None:
        """Say nothing."""


def _read_call(request: Request, body: bytes) -> Call:
    action = parse_qs(body.decode()).get("Action", [""])[0]
    scope = _SCOPE.search(request.headers.get("Authorization", ""))
    key, region = scope.groups() if scope else ("", "")
    return Call(action, region, key)


def _page_of_interfaces(response: Any) -> ActionResult:
    """Answer DescribeNetworkInterfaces a page at a time, as AWS does."""
    enis = response.ec2_backend.get_all_network_interfaces(
        response._get_param("NetworkInterfaceIds", []),
        response._filters_from_querystring(),
    )
    size = int(response._get_param("MaxResults", 1000))
    first = int(response._get_param("NextToken", 0))
    result = {"NetworkInterfaces": enis[first : first + size]}
    if first + size < len(enis):
        result["NextToken"] = str(first + size)
    return ActionResult(result)


@contextmanager
def moto_world(regions: tuple[str, ...] = REGIONS) -> Iterator[MotoWorld]:
    """Run a world with nothing in it but what AWS makes by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ElasticNetworkInterfaces, "describe_network_interfaces", _page_of_interfaces
        )
        enabled = [one for one in RegionsAndZonesBackend.regions if one.name in regions]
        patch.setattr(RegionsAndZonesBackend, "regions", enabled)
        ec2_backends.reset()
        world = MotoWorld()
        try:
            yield world
        finally:
            world.close()
            ec2_backends.reset()


class Region:
    """What a test puts into a region, without a request for each."""

    def __init__(self, name: str, account: str = ACCOUNT) -> None:
        self.name = name
        self.account = account
        self.backend: Any = ec2_backends[account][name]
        self.subnets: list[Any] = [
            subnet for zone in self.backend.subnets.values() for subnet in zone.values()
        ]

    def run(self, tags: dict[str, str] | None = None, kind: str = "m5.large") -> Any:
        """Run an instance."""
        reservation = self.backend.run_instances(
            "ami-12345678",
            1,
            None,
            [],
            instance_type=kind,
            is_instance_type_default=False,
            subnet_id=self.subnets[0].id,
            region_name=self.name,
            tags={"instance": tags or {}},
            security_group_ids=[],
            nics={},
            private_ip=None,
            placement=None,
        )
        return reservation.instances[0]

    def add(self, address: str | None = None, subnet: int = 0, **more: Any) -> Any:
        """Add an interface; ``more`` are its attributes, such as interface_type."""
        description = more.pop("description", "")
        tags = more.pop("tags", None)
        eni = self.backend.create_network_interface(
            self.subnets[subnet], address, [], description=description, tags=tags
        )
        for name, value in more.items():
            setattr(eni, name, value)
        return eni

    def attach(self, eni: Any, instance: Any) -> None:
        self.backend.attach_network_interface(eni.id, instance.id, 1)

    def detach(self, eni: Any) -> None:
        self.backend.detach_network_interface(eni.attachment_id)

    def remove(self, eni: Any) -> None:
        self.backend.enis.pop(eni.id)
