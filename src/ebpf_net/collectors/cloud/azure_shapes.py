"""What the Azure Resource Manager answers, as far as it is read, and records of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from ebpf_net.collectors.cloud.azure_ids import (
    group_of,
    last_name,
    network_of,
    short_id,
)
from ebpf_net.collectors.cloud.azure_owners import (
    Target,
    owner_of_public,
    role_of,
)
from ebpf_net.collectors.cloud.records import (
    AddressRange,
    Interface,
    Kind,
    address_range,
)
from ebpf_net.collectors.object_labels import AllowList

Item = Mapping[str, Any]


class Lookup(Protocol):
    """What ids lead to."""

    @property
    def allowed(self) -> AllowList:
        """Tags to send."""
        ...

    def public_address(self, resource_id: str) -> str:
        """Return a public address, or nothing."""
        ...

    def public_prefix(self, resource_id: str) -> str:
        """Return a range of public addresses, or nothing."""
        ...

    def zone_id(self, region: str, zone: str) -> str:
        """Return the name of a zone that all subscriptions have in common."""
        ...


class Machine(NamedTuple):
    """What is kept of a virtual machine, for the names of its interfaces."""

    machine_id: str = ""
    name: str = ""
    size: str = ""
    zone: str = ""
    role: str = ""
    tags: str = "{}"


class Place(NamedTuple):
    """Where a resource is."""

    region: str
    zone: str = ""
    zone_id: str = ""


def properties_of(item: Item) -> Mapping[str, Any]:
    """Return the properties of a resource."""
    return item.get("properties") or {}


def id_in(item: Item, key: str) -> str:
    """Return the id of what a resource refers to by some key; or nothing."""
    return (item.get(key) or {}).get("id") or ""


def only_zone(zones: object) -> str:
    """Return the zone of what is in one; what is in several is in none."""
    return str(zones[0]) if isinstance(zones, list) and len(zones) == 1 else ""


def place_of(location: str, zone: str, lookup: Lookup) -> Place:
    """Return region and zone, which is called as Kubernetes calls it."""
    region = sys.intern(location.lower().replace(" ", ""))
    if not zone:
        return Place(region)
    return Place(region, f"{region}-{zone}", lookup.zone_id(region, zone))


def read_machine(item: Item, allowed: AllowList) -> Machine:
    """Return what is kept of an item of ``virtualMachines``."""
    properties = properties_of(item)
    tags = item.get("tags") or {}
    scale_set = last_name(id_in(properties, "virtualMachineScaleSet"))
    return Machine(
        properties.get("vmId") or "",
        item.get("name") or "",
        sys.intern((properties.get("hardwareProfile") or {}).get("vmSize") or ""),
        sys.intern(only_zone(item.get("zones"))),
        sys.intern(role_of(item["id"], tags, scale_set) if scale_set or tags else ""),
        allowed.to_json(tags),
    )


def read_interface(
    item: Item, machine: Machine | None, target: Target | None, lookup: Lookup
) -> Interface:
    """Return the record of an item of ``networkInterfaces``."""
    tags = item.get("tags") or {}
    name = item.get("name") or last_name(item["id"])
    properties = properties_of(item)
    if machine is not None:
        record = read_interface_of(machine, item, item.get("location") or "", lookup)
        return record._replace(tags=lookup.allowed.to_json(tags)) if tags else record
    endpoint = last_name(id_in(properties, "privateEndpoint"))
    service = last_name(id_in(properties, "privateLinkService"))
    kind, role = Kind.OTHER, ""
    if endpoint:
        kind, role = target or Target(Kind.VPC_ENDPOINT, "")
    elif service:
        kind, role = Kind.GATEWAY, service
    return _record(
        item["id"],
        place_of(item.get("location") or "", "", lookup),
        kind,
        properties.get("ipConfigurations"),
        lookup,
    )._replace(name=endpoint or name, role=role, tags=lookup.allowed.to_json(tags))


def read_interface_of(
    machine: Machine, item: Item, location: str, lookup: Lookup
) -> Interface:
    """Return the record of an interface of a machine."""
    return _record(
        item["id"],
        place_of(location, machine.zone, lookup),
        Kind.INSTANCE,
        properties_of(item).get("ipConfigurations"),
        lookup,
    )._replace(
        instance_id=machine.machine_id,
        instance_type=machine.size,
        name=machine.name,
        role=machine.role,
        tags=machine.tags,
    )


def read_load_balancer(item: Item, lookup: Lookup) -> Iterator[Interface]:
    """Yield the front ends of an item of ``loadBalancers``."""
    for front in properties_of(item).get("frontendIPConfigurations") or ():
        zone = only_zone(front.get("zones"))
        yield _front_end(item, front["id"], [front], zone, lookup)


def read_application_gateway(item: Item, lookup: Lookup) -> Iterator[Interface]:
    """Yield the front ends of an item of ``applicationGateways``."""
    properties = properties_of(item)
    fronts = properties.get("frontendIPConfigurations") or []
    # A public front end has no subnet of its own.
    inner = properties.get("gatewayIPConfigurations") or []
    network = next((one for one in map(_subnet, inner) if one), "")
    for front in fronts:
        zone = only_zone(item.get("zones"))
        record = _front_end(item, front["id"], [front], zone, lookup)
        if not record.network:
            record = record._replace(
                network=network_of(network), subnet=last_name(network)
            )
        yield record


def read_nat_gateway(item: Item, lookup: Lookup) -> Iterator[Interface]:
    """Yield an item of ``natGateways`` with all its addresses."""
    properties = properties_of(item)
    public, prefixes = "publicIpAddresses", "publicIpPrefixes"
    addresses: list[AddressRange | None] = [
        _public(lookup.public_address(one.get("id") or ""))
        for key in (public, f"{public}V6")
        for one in properties.get(key) or ()
    ]
    addresses += [
        _public(lookup.public_prefix(one.get("id") or ""))
        for key in (prefixes, f"{prefixes}V6")
        for one in properties.get(key) or ()
    ]
    subnet = next((one.get("id") or "" for one in properties.get("subnets") or ()), "")
    record = _front_end(item, item["id"], (), only_zone(item.get("zones")), lookup)
    yield record._replace(
        kind=Kind.NAT_GATEWAY,
        addresses=tuple(one for one in addresses if one is not None),
        network=sys.intern(network_of(subnet)),
    )


def read_public_address(item: Item, lookup: Lookup) -> Iterator[Interface]:
    """Yield an item of ``publicIPAddresses`` unless it is another listing's."""
    properties = properties_of(item)
    owner = owner_of_public(properties)
    address = _public(properties.get("ipAddress") or "")
    if owner is None or address is None:
        return
    place = place_of(item.get("location") or "", only_zone(item.get("zones")), lookup)
    yield _record(item["id"], place, owner.kind, (), lookup)._replace(
        addresses=(address,),
        name=owner.name,
        role=owner.name,
        tags=lookup.allowed.to_json(item.get("tags") or {}),
    )


def _front_end(
    item: Item, front_id: str, fronts: Iterable[Item], zone: str, lookup: Lookup
) -> Interface:
    name, tags = item.get("name") or "", item.get("tags") or {}
    place = place_of(item.get("location") or "", zone, lookup)
    return _record(front_id, place, Kind.LOAD_BALANCER, fronts, lookup)._replace(
        name=name,
        role=sys.intern(_role(item["id"], tags, name)),
        tags=lookup.allowed.to_json(tags),
    )


def _role(resource_id: str, tags: Mapping[str, str], name: str) -> str:
    return role_of(resource_id, tags, name) if group_of(resource_id) else name


def _record(
    resource_id: str,
    place: Place,
    kind: Kind,
    configurations: Iterable[Item] | None,
    lookup: Lookup,
) -> Interface:
    """Return a record with addresses and network of some ``ipConfigurations``."""
    configurations = list(configurations or ())
    subnet = next((one for one in map(_subnet, configurations) if one), "")
    return Interface(
        interface_id=short_id(resource_id),
        region=place.region,
        kind=kind,
        addresses=tuple(_addresses(configurations, lookup)),
        zone=place.zone,
        zone_id=place.zone_id,
        network=sys.intern(network_of(subnet)),
        subnet=sys.intern(last_name(subnet)),
    )


def _subnet(configuration: Item) -> str:
    return id_in(properties_of(configuration), "subnet").lower()


def _addresses(configurations: list[Item], lookup: Lookup) -> Iterator[AddressRange]:
    """Yield what some ``ipConfigurations`` have, private before public.

    Private IPv6 addresses are the network's own, too: those that are seen outside are
    public addresses that stand for them.
    """
    for configuration in configurations:
        found = _private(properties_of(configuration))
        if found is not None:
            yield found
    for configuration in configurations:
        properties = properties_of(configuration)
        for text in (
            lookup.public_address(id_in(properties, "publicIPAddress")),
            lookup.public_prefix(id_in(properties, "publicIPPrefix")),
        ):
            found = _public(text)
            if found is not None:
                yield found


def _private(properties: Item) -> AddressRange | None:
    text = properties.get("privateIPAddress") or ""
    length = properties.get("privateIPAddressPrefixLength")
    if text and length:
        text = f"{text}/{length}"
    return address_range(text, is_public=False) if text else None


def _public(text: str) -> AddressRange | None:
    return address_range(text, is_public=True) if text else None
