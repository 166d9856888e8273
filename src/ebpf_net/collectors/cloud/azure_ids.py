"""Ids of resources in Azure: paths of pairs, of which case does not matter."""

from __future__ import annotations

_SUBSCRIPTIONS = "/subscriptions/"
_SUBNETS = "/subnets/"


def relative_id(resource_id: str) -> str:
    """Return an id without its subscription, in lower case: the same for all spellings.

    ``resourcegroups/<group>/providers/<namespace>/<type>/<name>``
    """
    lower = resource_id.lower()
    if not lower.startswith(_SUBSCRIPTIONS):
        return lower.lstrip("/")
    return lower[len(_SUBSCRIPTIONS) :].partition("/")[2]


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
