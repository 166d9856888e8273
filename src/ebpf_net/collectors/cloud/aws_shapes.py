"""What the EC2 API answers, as far as it is read, and records made of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from ebpf_net.collectors.cloud.aws_owners import (
    UNNAMED_ROLES,
    Owner,
    owner_of,
    role_of_tags,
)
from ebpf_net.collectors.cloud.records import (
    AddressRange,
    Interface,
    Kind,
    address_range,
    time_ns,
)
from ebpf_net.collectors.object_labels import AllowList

_NAME = "Name"
_NO_TAGS = "{}"
_DEFAULT_GROUP = "default"


class Tag(TypedDict, total=False):
    """One tag."""

    Key: str
    Value: str


class Attachment(TypedDict, total=False):
    """Where an interface is plugged in."""

    InstanceId: str
    InstanceOwnerId: str
    AttachTime: str


class NetworkInterface(TypedDict, total=False):
    """An item of DescribeNetworkInterfaces."""

    NetworkInterfaceId: str
    VpcId: str
    SubnetId: str
    AvailabilityZone: str
    AvailabilityZoneId: str
    Description: str
    Groups: Sequence[Mapping[str, str]]
    InterfaceType: str
    RequesterId: str
    Attachment: Attachment
    Association: Mapping[str, Any]
    PrivateIpAddress: str
    PrivateIpAddresses: Sequence[Mapping[str, Any]]
    Ipv6Addresses: Sequence[Mapping[str, Any]]
    Ipv4Prefixes: Sequence[Mapping[str, Any]]
    Ipv6Prefixes: Sequence[Mapping[str, Any]]
    TagSet: Sequence[Tag]


class Instance(NamedTuple):
    """What is kept of an instance, for the names of its interfaces."""

    instance_id: str
    instance_type: str = ""
    name: str = ""
    role: str = ""
    tags: str = _NO_TAGS


def read_instance(item: Mapping[str, Any], allowed: AllowList) -> Instance:
    """Return what is kept of an item of DescribeInstances."""
    tags = _tags(item.get("Tags", ()))
    return Instance(
        item["InstanceId"],
        sys.intern(item.get("InstanceType", "")),
        tags.get(_NAME, ""),
        sys.intern(role_of_tags(tags)),
        allowed.to_json(tags),
    )


def read_interface(
    item: NetworkInterface,
    instances: Mapping[str, Instance],
    zone_ids: Mapping[str, str],
    allowed: AllowList,
    region: str,
) -> Interface:
    """Return the record of an item of DescribeNetworkInterfaces."""
    attachment = item.get("Attachment", {})
    instance_id = attachment.get("InstanceId", "")
    instance = instances.get(instance_id) or Instance(instance_id)
    owner = owner_of(
        item.get("InterfaceType", ""),
        item.get("RequesterId", ""),
        item.get("Description", ""),
        has_instance=bool(instance_id),
    )
    tags = _tags(item.get("TagSet", ()))
    own_name, own_role = tags.get(_NAME, ""), role_of_tags(tags)
    zone = item.get("AvailabilityZone", "")
    return Interface(
        interface_id=item["NetworkInterfaceId"],
        region=region,
        kind=owner.kind,
        addresses=tuple(_addresses(item)),
        zone=zone,
        zone_id=zone_ids.get(zone) or item.get("AvailabilityZoneId", ""),
        network=item.get("VpcId", ""),
        subnet=item.get("SubnetId", ""),
        instance_id=instance.instance_id,
        instance_type=instance.instance_type,
        name=instance.name or own_name or _name_of_owner(owner, item),
        role=instance.role or own_role or owner.role,
        tags=_merge(instance.tags, allowed.to_json(tags)),
        attached_ns=time_ns(attachment.get("AttachTime", "")),
    )


def _name_of_owner(owner: Owner, item: NetworkInterface) -> str:
    """Return what people may know it by: of a database, its security group."""
    if owner.kind is Kind.DATABASE and owner.role in UNNAMED_ROLES:
        groups = [group.get("GroupName", "") for group in item.get("Groups", ())]
        return next((one for one in groups if one != _DEFAULT_GROUP), owner.role)
    return owner.role


def _merge(tags: str, own: str) -> str:
    if _NO_TAGS in (tags, own):
        return tags if own == _NO_TAGS else own
    both = json.loads(tags) | json.loads(own)
    return sys.intern(json.dumps(both, separators=(",", ":")))


def _addresses(item: NetworkInterface) -> Iterator[AddressRange]:
    """Yield what an interface has, private before public."""
    private = item.get("PrivateIpAddresses", ())
    texts = [(one.get("PrivateIpAddress"), False) for one in private]
    if not texts:
        texts = [(item.get("PrivateIpAddress"), False)]
    texts += [(one.get("Ipv4Prefix"), False) for one in item.get("Ipv4Prefixes", ())]
    associations = [one.get("Association", {}) for one in private]
    associations.append(item.get("Association", {}))
    for association in associations:
        texts += [(association.get(key), True) for key in ("PublicIp", "CarrierIp")]
    texts += [(one.get("Ipv6Address"), True) for one in item.get("Ipv6Addresses", ())]
    texts += [(one.get("Ipv6Prefix"), True) for one in item.get("Ipv6Prefixes", ())]
    for text, is_public in texts:
        if text:
            found = address_range(text, is_public=is_public)
            if found is not None:
                yield found


def _tags(tags: Sequence[Tag]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in tags if "Key" in tag}
