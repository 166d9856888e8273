"""What Google Cloud's APIs answer, as far as it is read, and records made of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ebpf_net.collectors.cloud.gcp_names import (
    InstanceGroups,
    last_of,
    network_of,
    region_of,
    role_of_labels,
)
from ebpf_net.collectors.cloud.records import (
    AddressRange,
    Interface,
    Kind,
    address_range,
    time_ns,
)
from ebpf_net.collectors.object_labels import AllowList

Item = Mapping[str, Any]
INSTANCE_FIELDS = (
    "id,name,machineType,labels,creationTimestamp,lastStartTimestamp,"
    "networkInterfaces(name,network,subnetwork,networkIP,ipv6Address,"
    "internalIpv6PrefixLength,aliasIpRanges/ipCidrRange,aliasIpv6Ranges/ipCidrRange,"
    "accessConfigs/natIP,ipv6AccessConfigs(externalIpv6,externalIpv6PrefixLength))"
)
DATABASE_FIELDS = (
    "name,region,gceZone,createTime,ipAddresses(ipAddress,type),"
    "nodes/ipAddresses(ipAddress,type),"
    "settings(tier,userLabels,ipConfiguration/privateNetwork)"
)
_PRIVATE = "PRIVATE"


def read_instance(
    item: Item, zone: str, groups: InstanceGroups, allowed: AllowList
) -> Iterator[Interface]:
    """Yield the interfaces of an instance."""
    labels = item.get("labels") or {}
    name = item["name"]
    role = role_of_labels(labels) or groups.group_of(zone, name)
    tags = allowed.to_json(labels)
    started = item.get("lastStartTimestamp") or item.get("creationTimestamp")
    for number, nic in enumerate(item.get("networkInterfaces", ())):
        yield Interface(
            # By number: names are unique within a zone only, and are used again.
            interface_id=f"{item['id']}/{nic.get('name') or f'nic{number}'}",
            region=sys.intern(region_of(zone)),
            kind=Kind.INSTANCE,
            addresses=tuple(_addresses(nic)),
            zone=zone,
            zone_id=zone,  # the same for all projects
            network=network_of(nic.get("network")),
            subnet=last_of(nic.get("subnetwork")),
            instance_id=str(item["id"]),
            instance_type=last_of(item.get("machineType")),
            name=name,
            role=role,
            tags=tags,
            attached_ns=time_ns(started),
        )


def read_database(item: Item, allowed: AllowList) -> Interface:
    """Return an instance of Cloud SQL, with all its nodes."""
    settings = item.get("settings") or {}
    zone = item.get("gceZone", "")
    name = item["name"]
    mappings = [*item.get("ipAddresses", ())]
    for node in item.get("nodes", ()):
        mappings += node.get("ipAddresses", ())
    addresses = (
        address_range(
            one.get("ipAddress", ""), is_public=one.get("type", "") != _PRIVATE
        )
        for one in mappings
    )
    return Interface(
        interface_id=f"sql/{name}",
        region=item.get("region", ""),
        kind=Kind.DATABASE,
        addresses=tuple(one for one in addresses if one is not None),
        zone=zone,
        zone_id=zone,
        network=network_of(
            (settings.get("ipConfiguration") or {}).get("privateNetwork")
        ),
        instance_type=settings.get("tier", ""),
        name=name,
        role=name,
        tags=allowed.to_json(settings.get("userLabels") or {}),
        attached_ns=time_ns(item.get("createTime")),
    )


def _addresses(nic: Item) -> Iterator[AddressRange]:
    """Yield what an interface has, private before public."""
    private = [nic.get("networkIP"), _with_length(nic, "ipv6Address", "internalIpv6")]
    for name in ("aliasIpRanges", "aliasIpv6Ranges"):
        private += [one.get("ipCidrRange") for one in nic.get(name, ())]
    public = [one.get("natIP") for one in nic.get("accessConfigs", ())]
    public += [
        _with_length(one, "externalIpv6", "externalIpv6")
        for one in nic.get("ipv6AccessConfigs", ())
    ]
    texts = [(text, False) for text in private] + [(text, True) for text in public]
    for text, is_public in texts:
        found = address_range(text or "", is_public=is_public)
        if found is not None:
            yield found


def _with_length(item: Item, address: str, length: str) -> str:
    """Return an IPv6 address with the length of its range: all of it is the same VM."""
    text = item.get(address, "")
    prefix_length = item.get(f"{length}PrefixLength")
    return f"{text}/{prefix_length}" if text and prefix_length else text
