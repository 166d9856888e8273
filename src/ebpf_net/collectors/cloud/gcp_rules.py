"""Google Cloud's forwarding rules and reserved addresses, as far as they name peers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ebpf_net.collectors.cloud.gcp_names import (
    last_of,
    network_of,
    role_of_description,
    router_of,
)
from ebpf_net.collectors.cloud.records import (
    Interface,
    Kind,
    address_range,
    time_ns,
)
from ebpf_net.collectors.object_labels import AllowList

Item = Mapping[str, Any]
RULE_FIELDS = (
    "name,description,IPAddress,loadBalancingScheme,network,subnetwork,target,"
    "backendService,pscConnectionId,labels,creationTimestamp"
)
ADDRESS_FIELDS = (
    "name,address,prefixLength,addressType,purpose,network,subnetwork,users,labels,"
    "creationTimestamp"
)
ROUTER_FIELDS = "name,network,nats(name,natIps,drainNatIps)"
_EXTERNAL, _INTERNAL = "EXTERNAL", "INTERNAL"
_GOOGLE_APIS = frozenset({"all-apis", "vpc-sc"})
_NAT_PURPOSE = "NAT_AUTO"
_PURPOSES: Mapping[str, tuple[Kind, str]] = {
    "DNS_RESOLVER": (Kind.OTHER, "dns"),
    "IPSEC_INTERCONNECT": (Kind.GATEWAY, "interconnect"),
    "SERVERLESS": (Kind.FUNCTION, "serverless"),
    "VPC_PEERING": (Kind.OTHER, ""),
}
"""Addresses that no instance or forwarding rule has: their kind and role."""


class _Rule(NamedTuple):
    region: str
    item: Item

    @property
    def age(self) -> tuple[int, str]:
        return time_ns(self.item.get("creationTimestamp")), self.item["name"]


def read_forwarding_rules(
    rules: Iterable[tuple[str, Item]], allowed: AllowList
) -> Iterator[Interface]:
    """Yield what has an address of forwarding rules, each once.

    Several rules may have the same address, for their ports: the oldest one names it.
    """
    oldest: dict[tuple[str, str, str], _Rule] = {}
    for region, item in rules:
        rule = _Rule(region, item)
        network = "" if _is_external(item) else network_of(item.get("network"))
        place = (region, network, item.get("IPAddress", ""))
        if place not in oldest or rule.age < oldest[place].age:
            oldest[place] = rule
    for rule in oldest.values():
        found = _read_rule(rule, allowed)
        if found is not None:
            yield found


def _read_rule(rule: _Rule, allowed: AllowList) -> Interface | None:
    item = rule.item
    is_public = _is_external(item)
    address = address_range(item.get("IPAddress", ""), is_public=is_public)
    if address is None or not (address.high or address.low & 0xFFFFFFFF):
        return None  # a mesh's rule for all addresses
    kind, role = _use_of(item)
    return Interface(
        interface_id=f"forwardingRules/{item['name']}",
        region=rule.region,
        kind=kind,
        addresses=(address,),
        network=network_of(item.get("network")),
        subnet=last_of(item.get("subnetwork")),
        name=item["name"],
        role=role_of_description(item.get("description", "")) or role or item["name"],
        tags=allowed.to_json(item.get("labels") or {}),
        attached_ns=time_ns(item.get("creationTimestamp")),
    )


def _is_external(rule: Item) -> bool:
    return str(rule.get("loadBalancingScheme", "")).startswith(_EXTERNAL)


def _use_of(rule: Item) -> tuple[Kind, str]:
    """Return what a rule leads to, and its name."""
    target = rule.get("target", "")
    if last_of(target) in _GOOGLE_APIS:
        return Kind.VPC_ENDPOINT, "google-apis"
    if "/serviceAttachments/" in target:
        return Kind.VPC_ENDPOINT, last_of(target)
    if rule.get("pscConnectionId"):
        return Kind.VPC_ENDPOINT, ""
    if "/targetVpnGateways/" in target:
        return Kind.GATEWAY, last_of(target)
    if "/targetPools/" in target or "/targetInstances/" in target:
        return Kind.LOAD_BALANCER, last_of(target)
    return Kind.LOAD_BALANCER, last_of(rule.get("backendService"))


class Router(NamedTuple):
    """What is kept of a Cloud Router, for the names of its NAT gateways."""

    network: str
    nats: Mapping[str, tuple[str, ...]]
    """By name: the addresses that people gave them, by name."""

    def nat_of(self, address: str) -> str:
        """Return the gateway that has an address; nothing if it cannot be told."""
        for name, addresses in self.nats.items():
            if address in addresses:
                return name
        return next(iter(self.nats)) if len(self.nats) == 1 else ""


Routers = Mapping[tuple[str, str], Router]
"""By region and name."""


def read_router(item: Item) -> Router:
    """Return what is kept of a router."""
    nats = {
        nat["name"]: tuple(
            map(last_of, (*nat.get("natIps", ()), *nat.get("drainNatIps", ())))
        )
        for nat in item.get("nats", ())
    }
    return Router(network_of(item.get("network")), nats)


def read_address(
    item: Item, region: str, routers: Routers, allowed: AllowList
) -> Interface | None:
    """Return what has a reserved address; None: something that says so itself."""
    user = next(filter(None, map(router_of, item.get("users", ()))), None)
    purpose = item.get("purpose", "")
    network, name = network_of(item.get("network")), item["name"]
    if user is not None or purpose == _NAT_PURPOSE:
        router = routers.get(user) if user else None
        gateway = router.nat_of(name) if router else ""
        role = gateway or (user[1] if user else "cloud-nat")
        kind, network = Kind.NAT_GATEWAY, router.network if router else network
        shown = role
    elif purpose in _PURPOSES:
        kind, role = _PURPOSES[purpose]
        role, shown = role or name, name
    else:
        return None
    address = _address(item)
    length = item.get("prefixLength")
    found = address_range(
        f"{address}/{length}" if length else address,
        is_public=item.get("addressType") != _INTERNAL,
    )
    if found is None:
        return None
    return Interface(
        interface_id=f"addresses/{name}",
        region=region,
        kind=kind,
        addresses=(found,),
        network=network,
        subnet=last_of(item.get("subnetwork")),
        name=shown,
        role=role,
        tags=allowed.to_json(item.get("labels") or {}),
        attached_ns=time_ns(item.get("creationTimestamp")),
    )


def _address(item: Item) -> str:
    return str(item.get("address", "")).partition("/")[0]
