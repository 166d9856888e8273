"""A subscription's network interfaces, but for those of uniform scale sets.

Interfaces are listed with each poll. What they are named by is listed now and then;
between those, only machines that nobody has heard of are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from ebpf_net.collectors.cloud.at_hand import AZURE
from ebpf_net.collectors.cloud.azure_errors import NotFound
from ebpf_net.collectors.cloud.azure_ids import last_name, short_id
from ebpf_net.collectors.cloud.azure_kept import Kept
from ebpf_net.collectors.cloud.azure_owners import Target, read_target
from ebpf_net.collectors.cloud.azure_session import Item
from ebpf_net.collectors.cloud.azure_shapes import (
    Machine,
    id_in,
    properties_of,
    read_interface,
    read_machine,
)
from ebpf_net.collectors.cloud.azure_subscription import (
    Subscription,
    SubscriptionLookup,
)
from ebpf_net.collectors.cloud.providers import Budget, PartFailed, PartKey
from ebpf_net.collectors.cloud.records import Interface

COMPUTE_VERSION = "2024-07-01"
_MACHINES = "Microsoft.Compute/virtualMachines"
_DETAIL_SECONDS = 600.0
_UNKNOWN_SECONDS = 60.0
"""Machines are listed anew that soon because of new ones."""
_ONE_BY_ONE = 20
"""More new machines than these are listed, not asked for one by one."""
_OF_SCALE_SETS = "/virtualmachinescalesets/"


class NetworkInterfaces:
    """A Part."""

    def __init__(self, subscription: Subscription) -> None:
        self.key = PartKey(AZURE, subscription.subscription_id, "network-interfaces")
        self._subscription = subscription
        self._machines: Kept[dict[str, Machine]] = Kept(
            {}, _DETAIL_SECONDS, self._list_machines
        )
        self._targets: Kept[dict[str, Target]] = Kept(
            {}, _DETAIL_SECONDS, self._list_targets
        )

    @property
    def account_name(self) -> str:
        """What people call the subscription."""
        return self._subscription.name

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        """Yield all interfaces; see Part."""
        lookup = SubscriptionLookup(self._subscription, budget)
        machines = self._machines.get(budget)
        targets = self._targets.get(budget)
        for page in self._subscription.pages(
            budget, "Microsoft.Network/networkInterfaces"
        ):
            machines = self._with_new_machines(budget, machines, page)
            targets = self._with_new_targets(budget, targets, page)
            for item in page:
                if _OF_SCALE_SETS in item["id"].lower():
                    continue
                machine = _machine_id(item)
                named = Machine(name=last_name(machine)) if machine else None
                yield read_interface(
                    item,
                    machines.get(short_id(machine), named),
                    targets.get(short_id(_endpoint_id(item))),
                    lookup,
                )

    def _with_new_machines(
        self, budget: Budget, machines: dict[str, Machine], page: list[Item]
    ) -> dict[str, Machine]:
        """Return machines with those of a page that no listing has had yet."""
        found = {_machine_id(item) for item in page}
        new = [one for one in found if one and short_id(one) not in machines]
        if not new or self._machines.is_lacking:
            return machines
        if len(new) > _ONE_BY_ONE:
            return self._machines.get(budget, _UNKNOWN_SECONDS)
        for machine_id in sorted(new):
            try:
                machines[short_id(machine_id)] = self._ask(budget, machine_id)
            except PartFailed as failure:
                budget.do_without(failure)
        return machines

    def _ask(self, budget: Budget, machine_id: str) -> Machine:
        permission = f"{_MACHINES}/read"
        url = f"{machine_id}?api-version={COMPUTE_VERSION}"
        try:
            item = budget.call(
                permission, lambda: self._subscription.session.get(permission, url)
            )
        except NotFound:
            return Machine(name=last_name(machine_id))  # it went a moment ago
        return read_machine(item, self._subscription.allowed)

    def _with_new_targets(
        self, budget: Budget, targets: dict[str, Target], page: list[Item]
    ) -> dict[str, Target]:
        found = {_endpoint_id(item) for item in page}
        if all(short_id(one) in targets for one in found if one):
            return targets
        if self._targets.is_lacking:
            return targets
        return self._targets.get(budget, _UNKNOWN_SECONDS)

    def _list_machines(
        self, budget: Budget, known: dict[str, Machine]
    ) -> dict[str, Machine]:
        found: dict[str, Machine] = {}
        for page in self._subscription.pages(budget, _MACHINES, COMPUTE_VERSION):
            for item in page:
                key = short_id(item["id"])
                machine = read_machine(item, self._subscription.allowed)
                before = known.get(key)
                # One object less, and interfaces share it.
                found[key] = before if before == machine else machine
        return found

    def _list_targets(self, budget: Budget, _: dict[str, Target]) -> dict[str, Target]:
        return {
            short_id(item["id"]): read_target(item)
            for page in self._subscription.pages(
                budget, "Microsoft.Network/privateEndpoints"
            )
            for item in page
        }


def _machine_id(item: Item) -> str:
    return id_in(properties_of(item), "virtualMachine")


def _endpoint_id(item: Item) -> str:
    return id_in(properties_of(item), "privateEndpoint")
