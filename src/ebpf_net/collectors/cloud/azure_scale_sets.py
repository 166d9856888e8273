"""The machines of a subscription's uniform scale sets; no other listing has them.

Machines of flexible ones are like all others: their interfaces are listed with those.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from ebpf_net.collectors.cloud.at_hand import AZURE
from ebpf_net.collectors.cloud.azure_errors import NotFound
from ebpf_net.collectors.cloud.azure_ids import last_name, names_within, short_id
from ebpf_net.collectors.cloud.azure_interfaces import COMPUTE_VERSION
from ebpf_net.collectors.cloud.azure_kept import Kept
from ebpf_net.collectors.cloud.azure_owners import role_of
from ebpf_net.collectors.cloud.azure_session import Item
from ebpf_net.collectors.cloud.azure_shapes import (
    Machine,
    id_in,
    only_zone,
    properties_of,
    read_interface_of,
)
from ebpf_net.collectors.cloud.azure_subscription import (
    Subscription,
    SubscriptionLookup,
)
from ebpf_net.collectors.cloud.providers import Budget, PartFailed, PartKey
from ebpf_net.collectors.cloud.records import Interface
from ebpf_net.collectors.object_labels import AllowList

_SCALE_SETS = "Microsoft.Compute/virtualMachineScaleSets"
_NETWORK_VERSION = "2018-10-01"
"""The only one for interfaces and public addresses of scale sets."""
_DETAIL_SECONDS = 600.0
_UNKNOWN_SECONDS = 60.0
_FLEXIBLE = "Flexible"
_MACHINE = "virtualmachines"


class _ScaleSet(NamedTuple):
    """What is read of an item of ``virtualMachineScaleSets``."""

    set_id: str
    location: str
    machine: Machine
    """As all its machines are, but for their own names and zones."""
    has_public_addresses: bool


class _Own(NamedTuple):
    """What each machine of a scale set has for itself; names as in Machine."""

    machine_id: str
    name: str
    zone: str


class ScaleSets:
    """A Part."""

    def __init__(self, subscription: Subscription) -> None:
        self.key = PartKey(AZURE, subscription.subscription_id, "scale-sets")
        self._subscription = subscription
        self._machines: dict[str, Kept[dict[str, _Own]]] = {}
        self._addresses: dict[str, Kept[Mapping[str, str]]] = {}

    @property
    def account_name(self) -> str:
        """What people call the subscription."""
        return self._subscription.name

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        """Yield all interfaces; see Part. One scale set that fails keeps its own."""
        sets = list(self._scale_sets(budget))
        self._forget_all_but({one.set_id for one in sets})
        failures: list[PartFailed] = []
        for scale_set in sets:
            try:
                yield from self._fetch_set(budget, scale_set)
            except NotFound:
                continue  # it went a moment ago
            except PartFailed as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    def _scale_sets(self, budget: Budget) -> Iterator[_ScaleSet]:
        allowed = self._subscription.allowed
        for page in self._subscription.pages(budget, _SCALE_SETS, COMPUTE_VERSION):
            for item in page:
                if _has_interfaces(item):
                    yield _read_scale_set(item, allowed)

    def _fetch_set(self, budget: Budget, scale_set: _ScaleSet) -> Iterator[Interface]:
        lookup = SubscriptionLookup(self._subscription, budget)
        set_id = scale_set.set_id
        if scale_set.has_public_addresses:
            addresses = self._addresses.setdefault(
                set_id, Kept({}, 0.0, partial(self._list_addresses, set_id))
            )
            lookup.add_addresses(addresses.get(budget))
        kept = self._machines.setdefault(
            set_id, Kept({}, _DETAIL_SECONDS, partial(self._list_machines, set_id))
        )
        machines = kept.get(budget)
        for page in self._pages(budget, set_id, "networkInterfaces", _NETWORK_VERSION):
            is_known = all(_number(item) in machines for item in page)
            if not is_known and not kept.is_lacking:
                machines = kept.get(budget, _UNKNOWN_SECONDS)
            for item in page:
                number = _number(item)
                own = machines.get(number) or _unlisted(scale_set, number)
                machine = scale_set.machine._replace(**own._asdict())
                yield read_interface_of(machine, item, scale_set.location, lookup)

    def _list_machines(
        self, set_id: str, budget: Budget, known: dict[str, _Own]
    ) -> dict[str, _Own]:
        found: dict[str, _Own] = {}
        for page in self._pages(budget, set_id, "virtualMachines", COMPUTE_VERSION):
            for item in page:
                own = _Own(
                    properties_of(item).get("vmId") or "",
                    item.get("name") or "",
                    sys.intern(only_zone(item.get("zones"))),
                )
                number = str(item["instanceId"])
                before = known.get(number)
                # Its texts are those that interfaces have.
                found[number] = before if before is not None and before == own else own
        return found

    def _list_addresses(
        self, set_id: str, budget: Budget, _: Mapping[str, str]
    ) -> Mapping[str, str]:
        return {
            short_id(item["id"]): properties_of(item).get("ipAddress") or ""
            for page in self._pages(
                budget, set_id, "publicIPAddresses", _NETWORK_VERSION
            )
            for item in page
        }

    def _pages(
        self, budget: Budget, set_id: str, kind: str, version: str
    ) -> Iterator[list[Item]]:
        return self._subscription.session.pages(
            budget,
            f"{_SCALE_SETS}/{kind}/read",
            f"{set_id}/{kind}?api-version={version}",
        )

    def _forget_all_but(self, set_ids: set[str]) -> None:
        for kept in (self._machines, self._addresses):
            for gone in kept.keys() - set_ids:
                del kept[gone]


def _has_interfaces(item: Item) -> bool:
    """Whether a scale set has machines that are listed nowhere else."""
    mode = properties_of(item).get("orchestrationMode")
    return mode != _FLEXIBLE and (item.get("sku") or {}).get("capacity") != 0


def _read_scale_set(item: Item, allowed: AllowList) -> _ScaleSet:
    tags, name = item.get("tags") or {}, item.get("name") or ""
    machine = Machine(
        size=sys.intern((item.get("sku") or {}).get("name") or ""),
        zone=sys.intern(only_zone(item.get("zones"))),
        role=sys.intern(role_of(item["id"], tags, name)),
        tags=allowed.to_json(tags),
    )
    return _ScaleSet(
        item["id"], item.get("location") or "", machine, _has_public_addresses(item)
    )


def _has_public_addresses(item: Item) -> bool:
    profile: Any = properties_of(item).get("virtualMachineProfile") or {}
    interfaces = (profile.get("networkProfile") or {}).get(
        "networkInterfaceConfigurations"
    )
    return any(
        properties_of(configuration).get("publicIPAddressConfiguration")
        for interface in interfaces or ()
        for configuration in properties_of(interface).get("ipConfigurations") or ()
    )


def _number(item: Item) -> str:
    """Return the number that a machine has in its scale set."""
    machine = id_in(properties_of(item), "virtualMachine") or item["id"]
    return names_within(machine).get(_MACHINE, "")


def _unlisted(scale_set: _ScaleSet, number: str) -> _Own:
    """Return what a machine is called that is in no listing yet."""
    name = f"{last_name(scale_set.set_id)}_{number}"
    return _Own("", name, scale_set.machine.zone)
