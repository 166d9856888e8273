"""What a project of Google Cloud has, in parts: one fails without the others.

A permission is for one kind of resource; so each kind is a part.
"""

from __future__ import annotations

from collections.abc import Iterator

from ebpf_net.collectors.cloud.gcp_listing import Lister, Listing
from ebpf_net.collectors.cloud.gcp_names import InstanceGroups
from ebpf_net.collectors.cloud.gcp_rules import (
    ADDRESS_FIELDS,
    ROUTER_FIELDS,
    RULE_FIELDS,
    Router,
    read_address,
    read_forwarding_rules,
    read_router,
)
from ebpf_net.collectors.cloud.gcp_shapes import (
    DATABASE_FIELDS,
    INSTANCE_FIELDS,
    read_database,
    read_instance,
)
from ebpf_net.collectors.cloud.providers import Budget, PartFailed, PartKey
from ebpf_net.collectors.cloud.records import Interface
from ebpf_net.collectors.object_labels import AllowList

_INSTANCES = Listing("instances", INSTANCE_FIELDS)
_GROUPS = Listing("instanceGroupManagers", "name,baseInstanceName")
_RULES = Listing("forwardingRules", RULE_FIELDS)
_ADDRESSES = Listing("addresses", ADDRESS_FIELDS)
_ROUTERS = Listing("routers", ROUTER_FIELDS)


class GcpInstances:
    """Virtual machines; a Part. Without their groups only roles are missing."""

    account_name = ""

    def __init__(self, key: PartKey, lister: Lister, allowed: AllowList) -> None:
        self.key = key
        self._lister = lister
        self._allowed = allowed
        self._groups = InstanceGroups()

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        """Yield all interfaces; see Part."""
        self._refresh(budget)
        for zone, item in self._lister.scoped_items(budget, _INSTANCES):
            yield from read_instance(item, zone, self._groups, self._allowed)

    def _refresh(self, budget: Budget) -> None:
        """List groups; what was known of them holds where they cannot be had now."""
        groups = InstanceGroups()
        try:
            for scope, item in self._lister.scoped_items(budget, _GROUPS):
                groups.add(scope, item)
        except PartFailed as failure:
            budget.do_without(failure)
            groups = self._groups.updated(groups)
        self._groups = groups


class GcpForwardingRules:
    """Load balancers, VPN gateways, endpoints of services; a Part."""

    account_name = ""

    def __init__(self, key: PartKey, lister: Lister, allowed: AllowList) -> None:
        self.key = key
        self._lister = lister
        self._allowed = allowed

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        """Yield all that have an address; see Part."""
        rules = self._lister.scoped_items(budget, _RULES)
        yield from read_forwarding_rules(rules, self._allowed)


class GcpAddresses:
    """NAT gateways, and addresses that only their reservation tells of; a Part."""

    account_name = ""

    def __init__(self, key: PartKey, lister: Lister, allowed: AllowList) -> None:
        self.key = key
        self._lister = lister
        self._allowed = allowed
        self._routers: dict[tuple[str, str], Router] = {}

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        """Yield all that nothing else tells of; see Part."""
        self._refresh(budget)
        for region, item in self._lister.scoped_items(budget, _ADDRESSES):
            found = read_address(item, region, self._routers, self._allowed)
            if found is not None:
                yield found

    def _refresh(self, budget: Budget) -> None:
        """List routers; what was known of them holds where they cannot be had now."""
        routers: dict[tuple[str, str], Router] = {}
        try:
            for region, item in self._lister.scoped_items(budget, _ROUTERS):
                routers[region, item["name"]] = read_router(item)
        except PartFailed as failure:
            budget.do_without(failure)
            routers = self._routers | routers
        self._routers = routers


class GcpDatabases:
    """Instances of Cloud SQL; a Part."""

    account_name = ""

    def __init__(self, key: PartKey, lister: Lister, allowed: AllowList) -> None:
        self.key = key
        self._lister = lister
        self._allowed = allowed

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        """Yield all instances; see Part."""
        for item in self._lister.databases(budget, DATABASE_FIELDS):
            yield read_database(item, self._allowed)
