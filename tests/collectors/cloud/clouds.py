"""Providers of a test: what there is, and what fails, is what it says."""

from __future__ import annotations

from collections.abc import Iterator

from ebpf_net.collectors.cloud.providers import Budget, Part, PartFailed, PartKey
from ebpf_net.collectors.cloud.records import Interface, Kind, address_range


def interface(uid: str, *addresses: str, region: str = "r1") -> Interface:
    ranges = tuple(address_range(one, is_public=False) for one in addresses)
    return Interface(
        interface_id=uid,
        region=region,
        kind=Kind.INSTANCE,
        addresses=tuple(one for one in ranges if one is not None),
        network="vpc-1",
        name=uid,
    )


class StaticPart:
    """Has ``interfaces``, unless it ``fails``; then it has the first one only."""

    def __init__(self, region: str, *interfaces: Interface) -> None:
        self.key = PartKey("aws", "111", region)
        self.account_name = "production"
        self.interfaces = list(interfaces)
        self.failure: Exception | None = None
        self.lacking: PartFailed | None = None
        self.fetches = 0

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        self.fetches += 1
        if self.lacking is not None:
            budget.do_without(self.lacking)
        found = list(self.interfaces)
        budget.call("list", lambda: None)
        for number, one in enumerate(found):
            if number and self.failure is not None:
                raise self.failure
            yield one
        if self.failure is not None:
            raise self.failure


class StaticProvider:
    """Lists ``listed``."""

    def __init__(self, *parts: Part, name: str = "aws") -> None:
        self.name = name
        self.listed = list(parts)
        self.failure: PartFailed | None = None

    def parts(self, budget: Budget) -> list[Part]:
        if self.failure is not None:
            raise self.failure
        return list(self.listed)
