"""Descriptions of AWS's services, as far as they are used.

botocore reads its clients' methods from them. That of EC2 takes 24 MB as it is, and 30
for a moment; here texts are left out while it is read, and then all that is not called.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.loaders import (  # type: ignore[import-untyped]  # it has no types
    JSONFileLoader,
    Loader,
    instance_cache,
)

_SERVICE_MODEL = "service-2"
_EC2 = "ec2"
_ENDPOINTS = "endpoints"
_SERVICES = (_EC2, "sts", "sso", "oidc")
_OPERATIONS = (
    "DescribeAvailabilityZones",
    "DescribeInstances",
    "DescribeNetworkInterfaces",
    "DescribeRegions",
)
_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "Instance": ("InstanceId", "InstanceType", "Tags"),
    "Reservation": ("Instances",),
    "NetworkInterface": (
        "Association",
        "Attachment",
        "AvailabilityZone",
        "AvailabilityZoneId",
        "Description",
        "Groups",
        "InterfaceType",
        "Ipv4Prefixes",
        "Ipv6Addresses",
        "Ipv6Prefixes",
        "NetworkInterfaceId",
        "PrivateIpAddress",
        "PrivateIpAddresses",
        "RequesterId",
        "SubnetId",
        "TagSet",
        "VpcId",
    ),
    "NetworkInterfaceAttachment": ("AttachTime", "InstanceId", "InstanceOwnerId"),
    "NetworkInterfaceAssociation": ("CarrierIp", "PublicIp"),
    "NetworkInterfacePrivateIpAddress": ("Association", "PrivateIpAddress"),
}
"""Of shapes of EC2: what is read. The parser passes over all that it does not know."""


class LeanLoader(Loader):  # type: ignore[misc]  # it has no types
    """As botocore's, but what it loads is lean."""

    def __init__(self) -> None:
        super().__init__(file_loader=_LeanFiles())

    def load_data_with_path(self, name: str) -> Any:
        """Return a file below the directory of data, and where it is."""
        data, path = super().load_data_with_path(name)
        return (_lean_endpoints(data) if name == _ENDPOINTS else data), path

    @instance_cache  # type: ignore[untyped-decorator]
    def load_service_model(
        self, service_name: str, type_name: str, api_version: str | None = None
    ) -> Any:
        """Return one description of a service."""
        whole = super().load_service_model(service_name, type_name, api_version)
        if type_name != _SERVICE_MODEL or service_name != _EC2:
            return whole
        for key in [key for key, value in self._cache.items() if value is whole]:
            del self._cache[key]
        model = _lean_model(whole, _OPERATIONS)
        _leave_members(model["shapes"])
        return model


class _LeanFiles(JSONFileLoader):  # type: ignore[misc]
    """Reads files of JSON without texts for people."""

    def load_file(self, file_path: str) -> Any:
        """Return what a file has, whose suffix is not known; None: there is none."""
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            text = plain.read_bytes()
        elif packed.is_file():
            text = gzip.decompress(packed.read_bytes())
        else:
            return None
        return json.loads(text, object_pairs_hook=_without_texts)


def _without_texts(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        name: value
        for name, value in pairs
        if name != "documentation" or not isinstance(value, str)
    }


def _lean_endpoints(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return where services are, without those that nobody calls."""
    partitions = [
        {
            **one,
            "services": {
                name: service
                for name, service in one["services"].items()
                if name in _SERVICES
            },
        }
        for one in data["partitions"]
    ]
    return {**data, "partitions": partitions}


def _lean_model(model: Mapping[str, Any], operations: tuple[str, ...]) -> Any:
    """Return a model with some operations, and the shapes that they use."""
    kept = {name: model["operations"][name] for name in operations}
    shapes: dict[str, Any] = {}
    for operation in kept.values():
        _keep_shapes(operation, model["shapes"], shapes)
    return {**model, "operations": kept, "shapes": shapes}


def _leave_members(shapes: Mapping[str, Any]) -> None:
    for name, members in _MEMBERS.items():
        known = shapes[name]["members"]
        shapes[name]["members"] = {one: known[one] for one in members if one in known}


def _keep_shapes(part: object, shapes: Mapping[str, Any], kept: dict[str, Any]) -> None:
    """Add all shapes that a part of a model names, and those that they name."""
    if isinstance(part, list):
        for one in part:
            _keep_shapes(one, shapes, kept)
    elif isinstance(part, dict):
        name = part.get("shape")
        if isinstance(name, str) and name in shapes and name not in kept:
            kept[name] = shapes[name]
            _keep_shapes(shapes[name], shapes, kept)
        for one in part.values():
            _keep_shapes(one, shapes, kept)
