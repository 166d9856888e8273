"""Ids of resources in Azure: paths of pairs, of which case does not matter."""

from __future__ import annotations

_LEADING = ["subscriptions", "resourcegroups", "providers"]
_GROUP, _TYPE = 3, 6
_SUBNETS = "/subnets/"


def short_id(resource_id: str) -> str:
    """Return what tells a resource from all others of its subscription.

    That is ``group/type/name`` in lower case, the same for all spellings; whole ids are
    three times as long, and there is one in each row.
    """
    segments = resource_id.lower().strip("/").split("/")
    if segments[::2][:3] != _LEADING:
        return "/".join(segments)
    return "/".join([segments[_GROUP], *segments[_TYPE:]])


def names_within(resource_id: str) -> dict[str, str]:
    """Return the names in an id by their types, which are in lower case."""
    segments = resource_id.strip("/").split("/")
    return {
        kind.lower(): name
        for kind, name in zip(segments[::2], segments[1::2], strict=False)
    }


def last_name(resource_id: str) -> str:
    """Return a resource's own name."""
    return resource_id.rstrip("/").rpartition("/")[2]


def group_of(resource_id: str) -> str:
    """Return the resource group's name."""
    return names_within(resource_id).get("resourcegroups", "")


def type_of(resource_id: str) -> str:
    """Return namespace and type, ``microsoft.sql/servers``; or nothing."""
    segments = resource_id.lower().strip("/").split("/")
    if "providers" not in segments:
        return ""
    start = segments.index("providers") + 1
    return "/".join(segments[start : start + 2])


def network_of(subnet_id: str) -> str:
    """Return the id of a subnet's virtual network, in lower case."""
    return subnet_id.lower().partition(_SUBNETS)[0]
