"""What Azure tells a virtual machine."""

from __future__ import annotations

from typing import Any, TypeVar

from ebpf_net.collectors.addresses import parse_address
from ebpf_net.collectors.kernel.container_details import as_list, as_object, as_text
from ebpf_net.collectors.kernel.instance_metadata_facts import (
    ON_DEMAND,
    SPOT,
    Instance,
    InstanceAddress,
)
from ebpf_net.collectors.kernel.instance_metadata_marks import AZURE
from ebpf_net.collectors.kernel.instance_metadata_service import (
    BAD_REQUEST,
    Answer,
    MetadataError,
    MetadataService,
    Parse,
    as_json,
    checked_name,
    time_ns,
)

HOSTS = ("169.254.169.254",)
_HEADERS = {"Metadata": "true"}
_VERSIONS = ("2023-11-15", "2021-02-01")  # of the first one on there is physicalZone
_BALANCER_VERSION = "2020-10-01"
_EVENTS_VERSION = "2020-07-01"
_ENDS = ("Preempt", "Terminate")

_T = TypeVar("_T")


class AzureSource:
    """Asks with the newest version of the service that it knows."""

    def __init__(self, service: MetadataService) -> None:
        self._service = service
        self._version = _VERSIONS[0]
        self._name, self._lifecycle = "", ""
        self._public_of: dict[str, str] = {}
        self._announced_ns = 0

    def instance(self) -> Instance:
        """Ask for all but the addresses."""
        try:
            found = self._instance()
        except MetadataError as error:
            if error.status != BAD_REQUEST or self._version == _VERSIONS[-1]:
                raise
            self._version = _VERSIONS[-1]
            found = self._instance()
        self._name, self._lifecycle = found.name, found.lifecycle
        return found

    def addresses(self) -> list[InstanceAddress]:
        """Ask for the addresses of all interfaces.

        Public ones of today's kind are told with the balancer's, if there is none; they
        stay as they were if just that cannot be told.
        """
        network = self._service.require(
            _path("instance/network", self._version), _HEADERS, as_json
        )
        try:
            answer = self._ask("loadbalancer", _BALANCER_VERSION, _as_public_addresses)
        except MetadataError as error:
            if not error.status:
                raise
        else:
            self._public_of = answer or {}
        return parse_network(network, self._public_of)

    def termination_ns(self, now_ns: int) -> int:
        """Ask a spot machine for its eviction, or the end of its scale set's machine.

        To ask makes Azure wait for the answer before it restarts a machine as its owner
        wants, for minutes: so others are not asked.
        """
        if self._lifecycle != SPOT:
            return 0

        def parse(answer: Answer) -> int | None:
            return parse_events(as_json(answer), self._name)

        ends_ns = self._ask("scheduledevents", _EVENTS_VERSION, parse)
        if ends_ns is None:
            self._announced_ns = 0
        else:  # what has begun has no time any more
            self._announced_ns = ends_ns or self._announced_ns or now_ns
        return self._announced_ns

    def _instance(self) -> Instance:
        return self._service.require(
            _path("instance/compute", self._version),
            _HEADERS,
            lambda answer: parse_compute(as_json(answer)),
        )

    def _ask(self, place: str, version: str, parse: Parse[_T]) -> _T | None:
        return self._service.read(_path(place, version), _HEADERS, parse)


def parse_compute(compute: Any) -> Instance:
    """Return what Azure tells of a virtual machine; raises ValueError."""
    found = as_object(compute)

    def text(key: str) -> str:
        return checked_name(as_text(found.get(key)))

    if not text("vmId"):
        raise ValueError("no id of a virtual machine")
    region, zone = text("location"), text("zone")
    return Instance(
        provider=AZURE,
        instance_id=text("vmId"),
        account=text("subscriptionId"),
        region=region,
        zone=f"{region}-{zone}" if zone else "",  # as Kubernetes calls it
        zone_id=text("physicalZone"),
        instance_type=text("vmSize"),
        name=text("name"),
        lifecycle=SPOT if text("priority") in ("Spot", "Low") else ON_DEMAND,
    )


def parse_network(network: Any, public_of: dict[str, str]) -> list[InstanceAddress]:
    """Return the addresses of interfaces; what is no address is left out."""
    found = []
    for item in as_list(as_object(network).get("interface")):
        interface = as_object(item)
        mac = _with_colons(as_text(interface.get("macAddress")))
        for family in ("ipv4", "ipv6"):
            part = as_object(interface.get(family))
            subnet = _subnet(part)
            for one in map(as_object, as_list(part.get("ipAddress"))):
                private = as_text(one.get("privateIpAddress"))
                public = as_text(one.get("publicIpAddress"))
                if parse_address(private):
                    public = public or public_of.get(private, "")
                    found.append(InstanceAddress(mac, private, public, subnet=subnet))
    return found


def parse_events(document: Any, machine: str) -> int | None:
    """Return when this machine ends by the scheduled events; None: it does not.

    0: it has begun, or no time is told.
    """
    for item in as_list(as_object(document).get("Events")):
        event = as_object(item)
        if event.get("EventType") in _ENDS and machine in as_list(
            event.get("Resources")
        ):
            begin = as_text(event.get("NotBefore"))
            return time_ns(begin) if begin else 0
    return None


def _as_public_addresses(answer: Answer) -> dict[str, str]:
    balancer = as_object(as_object(as_json(answer)).get("loadbalancer"))
    pairs = map(as_object, as_list(balancer.get("publicIpAddresses")))
    return {
        as_text(pair.get("privateIpAddress")): as_text(pair.get("frontendIpAddress"))
        for pair in pairs
    }


def _subnet(family: Any) -> str:
    subnet = as_object(next(iter(as_list(family.get("subnet"))), None))
    address, prefix = as_text(subnet.get("address")), as_text(subnet.get("prefix"))
    return f"{address}/{prefix}" if address and prefix else ""


def _with_colons(mac: str) -> str:
    """Return ``0011AAFFBB22`` as it is written elsewhere."""
    return ":".join(mac[place : place + 2] for place in range(0, len(mac), 2)).lower()


def _path(place: str, version: str) -> str:
    return f"/metadata/{place}?api-version={version}"
