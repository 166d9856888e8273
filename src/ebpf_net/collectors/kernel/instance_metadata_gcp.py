"""What Google Cloud tells an instance.

Its attributes and service accounts hold secrets: they are never asked for.
"""

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
from ebpf_net.collectors.kernel.instance_metadata_marks import GCP
from ebpf_net.collectors.kernel.instance_metadata_service import (
    Answer,
    MetadataService,
    Parse,
    as_json,
    as_name,
    checked_name,
)

HOSTS = ("169.254.169.254", "fd20:ce::254")
_HEADERS = {"Metadata-Flavor": "Google"}
_SECOND_NS = 1_000_000_000
_PREEMPTION_NS = 30 * _SECOND_NS  # from the notice to the end, as documented
_MAINTENANCE_NS = 60 * _SECOND_NS  # the same where it is not a spot instance

_T = TypeVar("_T")


class GcpSource:
    """Asks for single values; only that of the interfaces is an object."""

    def __init__(self, service: MetadataService) -> None:
        self._service = service
        self._project, self._project_number = "", ""
        self._lifecycle = ""
        self._announced_ns = 0

    def instance(self) -> Instance:
        """Ask for all but the addresses."""
        instance_id = self._service.require(
            "/computeMetadata/v1/instance/id", _HEADERS, _from_google(_as_id)
        )
        self._project = self._name("project/project-id")
        self._project_number = self._name("project/numeric-project-id")
        zone = self._name("instance/zone").rpartition("/")[2]
        is_spot = self._name("instance/scheduling/preemptible") == "TRUE"
        self._lifecycle = SPOT if is_spot else ON_DEMAND
        return Instance(
            provider=GCP,
            instance_id=instance_id,
            account=self._project,
            region=zone.rpartition("-")[0],
            zone=zone,
            zone_id=zone,  # the same for all projects
            instance_type=self._name("instance/machine-type").rpartition("/")[2],
            name=self._name("instance/name"),
            lifecycle=self._lifecycle,
        )

    def addresses(self) -> list[InstanceAddress]:
        """Ask for the addresses of all interfaces."""
        interfaces = self._find("instance/network-interfaces/?recursive=true", as_json)
        return parse_interfaces(interfaces, self._project, self._project_number)

    def termination_ns(self, now_ns: int) -> int:
        """Ask for a preemption, or maintenance that stops the instance.

        No time is told but by how long a notice is: it counts from the first look.
        """
        left_ns = self._notice_ns()
        if not left_ns:
            self._announced_ns = 0
        elif not self._announced_ns:
            self._announced_ns = now_ns + left_ns
        return self._announced_ns

    def _notice_ns(self) -> int:
        is_spot = self._lifecycle == SPOT
        if is_spot and self._name("instance/preempted") == "TRUE":
            return _PREEMPTION_NS
        maintenance = self._name("instance/maintenance-event")
        return _MAINTENANCE_NS if maintenance.startswith("TERMINATE") else 0

    def _name(self, path: str) -> str:
        return self._find(path, as_name) or ""

    def _find(self, path: str, parse: Parse[_T]) -> _T | None:
        return self._service.read(
            f"/computeMetadata/v1/{path}", _HEADERS, _from_google(parse)
        )


def parse_interfaces(
    interfaces: Any, project: str, project_number: str
) -> list[InstanceAddress]:
    """Return the addresses of interfaces; what is no address is left out."""
    found = []
    for number, item in enumerate(as_list(interfaces)):
        interface = as_object(item)
        network = _network(as_text(interface.get("network")), project, project_number)
        configs = map(as_object, as_list(interface.get("accessConfigs")))
        public = next((as_text(one.get("externalIp")) for one in configs), "")
        private = as_text(interface.get("ip"))
        if parse_address(private):
            found.append(InstanceAddress(f"nic{number}", private, public, network))
        others = [
            *as_list(interface.get("ipAliases")),
            *as_list(interface.get("ipv6s")),
        ]
        for other in map(as_text, others):
            address = other.removesuffix("/32").removesuffix("/128")
            if parse_address(address):  # else a range, as pods have
                found.append(InstanceAddress(f"nic{number}", address, "", network))
    return found


def _network(path: str, project: str, project_number: str) -> str:
    """Return ``projects/123/networks/default`` as ``project/default``.

    The number of another project, whose network is shared, stays one.
    """
    parts = path.split("/")
    if len(parts) != 4:
        return ""
    owner = project if parts[1] == project_number else parts[1]
    return f"{owner}/{parts[3]}"


def _from_google(parse: Parse[_T]) -> Parse[_T]:
    def checked(answer: Answer) -> _T:
        if answer.headers.get("metadata-flavor") != "Google":
            raise ValueError("it is not Google's")
        return parse(answer)

    return checked


def _as_id(answer: Answer) -> str:
    if not (name := checked_name(answer.text.strip())):
        raise ValueError("no instance id")
    return name
