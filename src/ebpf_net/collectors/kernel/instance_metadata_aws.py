"""What AWS tells an instance: IMDSv2, and version 1 only where that is allowed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from ebpf_net.collectors.addresses import parse_address
from ebpf_net.collectors.kernel.container_details import as_list, as_object, as_text
from ebpf_net.collectors.kernel.instance_metadata_facts import (
    SPOT,
    Instance,
    InstanceAddress,
)
from ebpf_net.collectors.kernel.instance_metadata_marks import AWS
from ebpf_net.collectors.kernel.instance_metadata_service import (
    UNAUTHORIZED,
    Answer,
    MetadataError,
    MetadataService,
    Parse,
    as_json,
    as_label,
    as_lines,
    as_name,
    checked_name,
    time_ns,
)

HOSTS = ("169.254.169.254", "fd00:ec2::254")
_DOCUMENT = "/latest/dynamic/instance-identity/document"
_INTERFACES = "/latest/meta-data/network/interfaces/macs/"
_TOKEN_SECONDS = 21_600
_MAX_INTERFACES = 64  # the largest have 30
_MAX_PUBLIC_ADDRESSES = 256  # of an interface; 50 is the most
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_ENDS = ("instance-stop", "instance-retirement")

_T = TypeVar("_T")


class _Token(NamedTuple):
    text: str
    seconds: float


class AwsSource:
    """Asks as the metadata service's version 2 wants it, with a token."""

    def __init__(
        self,
        service: MetadataService,
        *,
        allow_version_1: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._allow_version_1 = allow_version_1
        self._monotonic = monotonic
        self._token = ""
        self._token_until = 0.0
        self._without_token = False
        self._lifecycle = ""
        self._stop_ns = 0

    def instance(self) -> Instance:
        """Ask for all but the addresses."""
        self._without_token = False  # version 2 may be there again
        document = self._with_token(
            lambda headers: self._service.require(_DOCUMENT, headers, _as_document)
        )
        instance = Instance(
            **document,
            zone_id=self._name("placement/availability-zone-id"),
            # Only where tags are let in.
            name=self._find("tags/instance/Name", as_label) or "",
            lifecycle=self._name("instance-life-cycle"),
        )
        scheduled = self._find("events/maintenance/scheduled", _as_stop_ns)
        self._stop_ns = scheduled or 0
        self._lifecycle = instance.lifecycle
        return instance

    def addresses(self) -> list[InstanceAddress]:
        """Ask for the addresses of all interfaces."""
        macs = self._with_token(
            lambda headers: self._service.require(_INTERFACES, headers, _as_macs)
        )
        return [address for mac in macs for address in self._addresses_of(mac)]

    def termination_ns(self, now_ns: int) -> int:  # noqa: ARG002 - AWS tells the time
        """Ask for an interruption of a spot instance; others are told in time."""
        if self._lifecycle not in (SPOT, ""):
            return self._stop_ns
        return self._find("spot/instance-action", _as_interruption_ns) or self._stop_ns

    def _addresses_of(self, mac: str) -> list[InstanceAddress]:
        place = f"network/interfaces/macs/{mac}"
        public_of = {
            private: public
            for public in self._addresses(f"{place}/ipv4-associations/")
            for private in self._addresses(f"{place}/ipv4-associations/{public}")
        }
        interface = _Interface(
            self._name(f"{place}/interface-id") or mac,
            self._name(f"{place}/vpc-id"),
            self._name(f"{place}/subnet-id"),
        )
        private = self._addresses(f"{place}/local-ipv4s")
        private += self._addresses(f"{place}/ipv6s")
        return interface.addresses(private, public_of)

    def _name(self, path: str) -> str:
        return self._find(path, as_name) or ""

    def _addresses(self, path: str) -> list[str]:
        return self._find(path, _as_addresses) or []

    def _find(self, path: str, parse: Parse[_T]) -> _T | None:
        path = f"/latest/meta-data/{path}"
        return self._with_token(
            lambda headers: self._service.read(path, headers, parse)
        )

    def _with_token(self, ask: Callable[[Mapping[str, str]], _T]) -> _T:
        try:
            return ask(self._headers())
        except MetadataError as error:
            if error.status != UNAUTHORIZED or not self._token:
                raise
        self._token = ""  # it ended before its time
        return ask(self._headers())

    def _headers(self) -> Mapping[str, str]:
        if self._without_token:
            return {}
        if not self._token or self._monotonic() >= self._token_until:
            self._renew_token()
        token = {"X-aws-ec2-metadata-token": self._token}
        return token if self._token else {}

    def _renew_token(self) -> None:
        wanted = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
        self._token = ""
        try:
            token = self._service.require(
                "/latest/api/token", wanted, _as_token, method="PUT"
            )
        except MetadataError:
            if not self._allow_version_1:
                raise
            self._without_token = True
            return
        self._token = token.text
        self._token_until = self._monotonic() + token.seconds / 2


class _Interface(NamedTuple):
    """An interface, and where it is."""

    interface_id: str
    network: str
    subnet: str

    def addresses(
        self, private: list[str], public_of: Mapping[str, str]
    ) -> list[InstanceAddress]:
        """Return its addresses, with the public ones in whose place they are."""
        known = dict.fromkeys([*private, *public_of])
        return [
            InstanceAddress(
                self.interface_id,
                address,
                public_of.get(address, ""),
                self.network,
                self.subnet,
            )
            for address in known
        ]


def parse_document(document: Any) -> dict[str, str]:
    """Return what the identity document tells of an Instance; raises ValueError."""
    found = as_object(document)
    fields = {
        "instance_id": "instanceId",
        "account": "accountId",
        "region": "region",
        "zone": "availabilityZone",
        "instance_type": "instanceType",
    }
    facts = {
        name: checked_name(as_text(found.get(key))) for name, key in fields.items()
    }
    if not facts["instance_id"]:
        raise ValueError("no instance id")
    return {"provider": AWS, **facts}


def parse_interfaces(macs: Any) -> list[InstanceAddress]:
    """Return the addresses in what cloud-init keeps of the interfaces, by MAC."""
    found = []
    for mac, details in as_object(macs).items():
        interface = as_object(details)
        names = _Interface(
            as_text(interface.get("interface-id")) or mac,
            as_text(interface.get("vpc-id")),
            as_text(interface.get("subnet-id")),
        )
        public_of = {
            as_text(private): public
            for public, private in as_object(interface.get("ipv4-associations")).items()
        }
        private = [*_listed(interface, "local-ipv4s"), *_listed(interface, "ipv6s")]
        found += names.addresses(private, public_of)
    return found


def _listed(interface: Mapping[str, Any], key: str) -> list[str]:
    """Return a list that is one text if it has one line, or is one per line."""
    value = interface.get(key)
    return as_text(value).split() or [as_text(one) for one in as_list(value)]


def _as_document(answer: Answer) -> dict[str, str]:
    return parse_document(as_json(answer))


def _as_token(answer: Answer) -> _Token:
    text = as_name(answer)
    if not text.isascii() or not text or " " in text:
        raise ValueError("no token")
    seconds = answer.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
    if not seconds.isascii() or not seconds.isdigit():
        return _Token(text, _TOKEN_SECONDS)
    return _Token(text, min(int(seconds[:9]), _TOKEN_SECONDS))


def _as_macs(answer: Answer) -> list[str]:
    macs = [line.rstrip("/") for line in as_lines(answer)]
    if len(macs) > _MAX_INTERFACES or not all(map(_MAC.fullmatch, macs)):
        raise ValueError("no MAC addresses")
    return macs


def _as_addresses(answer: Answer) -> list[str]:
    lines = as_lines(answer)
    if len(lines) > _MAX_PUBLIC_ADDRESSES or not all(map(parse_address, lines)):
        raise ValueError("no addresses")
    return lines


def _as_interruption_ns(answer: Answer) -> int:
    told = as_object(as_json(answer))
    return time_ns(as_text(told.get("time")))


def _as_stop_ns(answer: Answer) -> int:
    """Return when the first of the scheduled events ends the instance; 0: none."""
    times = []
    for item in as_list(as_json(answer)):
        event = as_object(item)
        if event.get("Code") in _ENDS and event.get("State") == "active":
            times.append(time_ns(as_text(event.get("NotBefore"))))
    return min(times, default=0)
