"""What cloud-init has found out at boot and left on disk: nobody is asked.

All there is in OpenStack, DigitalOcean and Hetzner; in other clouds it stands in for a
metadata service that does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ebpf_net.collectors.addresses import parse_address
from ebpf_net.collectors.kernel.container_details import as_list, as_object, as_text
from ebpf_net.collectors.kernel.instance_metadata_aws import (
    parse_document,
    parse_interfaces,
)
from ebpf_net.collectors.kernel.instance_metadata_azure import (
    parse_compute,
    parse_network,
)
from ebpf_net.collectors.kernel.instance_metadata_facts import (
    Instance,
    InstanceAddress,
)
from ebpf_net.collectors.kernel.instance_metadata_files import read_regular
from ebpf_net.collectors.kernel.instance_metadata_marks import (
    AWS,
    AZURE,
    DIGITALOCEAN,
    GCP,
    HETZNER,
    OPENSTACK,
)
from ebpf_net.collectors.kernel.instance_metadata_service import (
    MetadataError,
    Outcome,
    OutcomeCounts,
    checked_name,
)

OF_THIS_BOOT = Path("run/cloud-init/instance-data.json")
_OF_ANY_BOOT = Path("var/lib/cloud/data/instance-id")
_MAX_BYTES = 4 << 20
_MAX_ID_BYTES = 1024
_PROVIDERS = {
    "aws": AWS,
    "gce": GCP,
    "azure": AZURE,
    "openstack": OPENSTACK,
    "digitalocean": DIGITALOCEAN,
    "hetzner": HETZNER,
}


class CloudInitSource:
    """Reads the file again each time, as cloud-init may write it anew.

    ``marked`` is the cloud that the firmware names, or nothing: then only what is of
    this boot is believed.
    """

    def __init__(self, root: Path, marked: str, counts: OutcomeCounts) -> None:
        self._root = root
        self._marked = marked
        self._counts = counts
        self._data: Mapping[str, Any] = {}
        self._provider = ""

    def instance(self) -> Instance:
        """Read all; ``addresses`` has the rest of it."""
        with self._counts.question():
            try:
                return self._instance()
            except FileNotFoundError as error:
                raise MetadataError(Outcome.FAILED, str(error)) from error
            except (OSError, ValueError, RecursionError) as error:
                message = f"what cloud-init left makes no sense: {error}"
                raise MetadataError(Outcome.GARBAGE, message) from error

    def addresses(self) -> list[InstanceAddress]:
        """Return the addresses in what was read last."""
        data = as_object(self._data.get("ds"))
        found = list(_addresses(self._provider, data))
        return [address for address in found if parse_address(address.private)]

    def termination_ns(self, now_ns: int) -> int:  # noqa: ARG002 - nobody tells
        """Return 0: it is known at boot only."""
        return 0

    def _instance(self) -> Instance:
        if text := _read(self._root / OF_THIS_BOOT, _MAX_BYTES):
            self._data = as_object(json.loads(text))
            found = parse_data(self._data)
            if not self._marked or self._marked == found.provider:
                self._provider = found.provider
                return found
        if not self._marked:
            raise ValueError("no cloud is named")
        self._data, self._provider = {}, self._marked
        text = _read(self._root / _OF_ANY_BOOT, _MAX_ID_BYTES)
        if not (name := checked_name(text.decode().strip())):
            raise FileNotFoundError("cloud-init left nothing")
        return Instance(self._marked, name)


def parse_data(data: Mapping[str, Any]) -> Instance:
    """Return what ``instance-data.json`` tells; raises ValueError."""
    facts = as_object(data.get("v1"))
    provider = _PROVIDERS.get(_text(facts, "cloud_name", "cloud-name"), "")
    instance_id = _text(facts, "instance_id", "instance-id")
    if not provider or not instance_id:
        raise ValueError("no instance of a known cloud")
    instance = Instance(
        provider=provider,
        instance_id=instance_id,
        region=_text(facts, "region"),
        zone=_text(facts, "availability_zone", "availability-zone"),
        name=_text(facts, "local_hostname", "local-hostname"),
    )
    return _with_more(instance, as_object(data.get("ds")))


def _with_more(instance: Instance, data: Mapping[str, Any]) -> Instance:
    """Add what only the data of one cloud has."""
    metadata = as_object(data.get("meta_data"))
    if instance.provider == AWS:
        dynamic = as_object(as_object(data.get("dynamic")).get("instance-identity"))
        placement = as_object(metadata.get("placement"))
        return replace(
            Instance(**parse_document(dynamic.get("document"))),
            zone_id=_text(placement, "availability-zone-id"),
            lifecycle=_text(metadata, "instance-life-cycle"),
        )
    if instance.provider == AZURE:
        return parse_compute(as_object(metadata.get("imds")).get("compute"))
    if instance.provider == OPENSTACK:
        kind = _text(as_object(data.get("ec2_metadata")), "instance-type")
        project = _text(metadata, "project_id")
        return replace(instance, account=project, instance_type=kind)
    return instance


def _addresses(provider: str, data: Mapping[str, Any]) -> Iterator[InstanceAddress]:
    metadata = as_object(data.get("meta_data"))
    if provider == AWS:
        interfaces = as_object(as_object(metadata.get("network")).get("interfaces"))
        yield from parse_interfaces(interfaces.get("macs"))
    elif provider == AZURE:
        yield from parse_network(as_object(metadata.get("imds")).get("network"), {})
    elif provider == OPENSTACK:
        yield from _openstack(data)
    elif provider == DIGITALOCEAN:
        yield from _digitalocean(metadata)
    elif provider == HETZNER:
        yield from _hetzner(metadata)


def _openstack(data: Mapping[str, Any]) -> Iterator[InstanceAddress]:
    """Networks with their addresses; the floating one is told in EC2's manner."""
    ec2 = as_object(data.get("ec2_metadata"))
    local, public = as_text(ec2.get("local-ipv4")), as_text(ec2.get("public-ipv4"))
    networks = as_object(data.get("network_json"))
    links = {
        as_text(link.get("id")): as_text(link.get("ethernet_mac_address"))
        for link in map(as_object, as_list(networks.get("links")))
    }
    told = set()
    for network in map(as_object, as_list(networks.get("networks"))):
        link = as_text(network.get("link"))
        private = as_text(network.get("ip_address")).partition("/")[0]
        yield InstanceAddress(
            links.get(link) or link,
            private,
            public if private == local else "",
            network=as_text(network.get("network_id")),
        )
        told.add(private)
    if local not in told:  # DHCP tells it, not this data
        yield InstanceAddress(next(iter(links.values()), ""), local, public)


def _digitalocean(metadata: Mapping[str, Any]) -> Iterator[InstanceAddress]:
    """Public addresses are the interface's own, but a reserved one has an anchor."""
    reserved = ""
    for key in ("reserved_ip", "floating_ip"):
        ipv4 = as_object(as_object(metadata.get(key)).get("ipv4"))
        reserved = reserved or as_text(ipv4.get("ip_address"))
    for interfaces in as_object(metadata.get("interfaces")).values():
        for interface in map(as_object, as_list(interfaces)):
            mac = as_text(interface.get("mac"))
            for kind in ("ipv4", "ipv6", "anchor_ipv4"):
                private = as_text(as_object(interface.get(kind)).get("ip_address"))
                public = reserved if kind == "anchor_ipv4" else ""
                yield InstanceAddress(mac, private, public)


def _hetzner(metadata: Mapping[str, Any]) -> Iterator[InstanceAddress]:
    config = as_list(as_object(metadata.get("network-config")).get("config"))
    mac = ""
    for interface in map(as_object, config):
        mac = mac or as_text(interface.get("mac_address"))
        for subnet in map(as_object, as_list(interface.get("subnets"))):
            address = as_text(subnet.get("address")).partition("/")[0]
            yield InstanceAddress(as_text(interface.get("mac_address")), address)
    yield InstanceAddress(mac, as_text(metadata.get("public-ipv4")))


def _read(path: Path, most: int) -> bytes:
    """Return what is there, or nothing; raises OSError or ValueError."""
    try:
        data = read_regular(path, most + 1)
    except FileNotFoundError:
        return b""
    if len(data) > most:
        raise ValueError(f"{path} is larger than {most} bytes")
    return data


def _text(facts: Mapping[str, Any], *keys: str) -> str:
    """Return the first of the texts that is there; a number is one, too."""
    for key in keys:
        value = facts.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if text := as_text(value):
            return checked_name(text)
    return ""
