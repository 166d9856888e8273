"""What a provider's API tells, the same for all providers.

Records live only until the rows made of them are compared with those of the last poll.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from ipaddress import ip_network
from typing import NamedTuple

from ebpf_net.collectors.addresses import parse_address, to_ns

_BITS = 128
_IPV4_BITS = 32


class Kind(StrEnum):
    """What a network interface belongs to: column ``kind`` of ``cloud_interfaces``."""

    INSTANCE = "instance"
    LOAD_BALANCER = "load_balancer"
    NAT_GATEWAY = "nat_gateway"
    DATABASE = "database"
    CACHE = "cache"
    VPC_ENDPOINT = "vpc_endpoint"
    CONTAINER = "container"
    FUNCTION = "function"
    KUBERNETES = "kubernetes"
    FILE_SYSTEM = "file_system"
    GATEWAY = "gateway"
    OTHER = "other"


class AddressRange(NamedTuple):
    """An address, or a range of them: halves as in ``schema.EDGES``, IPv4 mapped."""

    high: int
    low: int
    prefix_length: int
    """Of the 128 bits; 128: one address."""
    is_public: bool
    """Means the same everywhere; else only within the interface's network."""


class Interface(NamedTuple):
    """A network interface, or what has addresses as if it were one."""

    interface_id: str
    """Unique in its account and region."""
    region: str
    kind: Kind
    addresses: tuple[AddressRange, ...]
    zone: str = ""
    """As the account calls it."""
    zone_id: str = ""
    """The same for all accounts."""
    network: str = ""
    """Unique everywhere: ``vpc-...``, project and name, or a resource id."""
    subnet: str = ""
    instance_id: str = ""
    instance_type: str = ""
    name: str = ""
    """What people call it."""
    role: str = ""
    """What it serves, like a workload's name; or nothing."""
    tags: str = "{}"
    """Those allowed, as ``AllowList.to_json`` has them."""
    attached_ns: int = 0
    """Since when it is where it is, where the provider says so; Unix time."""


def address_range(text: str, *, is_public: bool) -> AddressRange | None:
    """Return an address or a prefix such as ``10.0.1.0/28``; None: it is neither."""
    address, slash, _ = text.partition("/")
    halves = parse_address(address)
    if halves is None:
        return None
    if not slash:
        return AddressRange(*halves, _BITS, is_public)
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    halves = parse_address(str(network.network_address))
    assert halves is not None
    outer = _BITS - (_IPV4_BITS if network.version == 4 else _BITS)
    return AddressRange(*halves, outer + network.prefixlen, is_public)


def time_ns(text: str | None) -> int:
    """Return a time such as ``2026-01-31T12:00:00.000-07:00``; 0 if it is none."""
    try:
        return to_ns(datetime.fromisoformat(text or ""))
    except ValueError:
        return 0
