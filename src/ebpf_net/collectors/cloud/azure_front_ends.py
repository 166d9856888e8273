"""What has addresses in a subscription without being a network interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ebpf_net.collectors.cloud.at_hand import AZURE
from ebpf_net.collectors.cloud.azure_session import Item
from ebpf_net.collectors.cloud.azure_shapes import (
    Lookup,
    read_application_gateway,
    read_load_balancer,
    read_nat_gateway,
    read_public_address,
)
from ebpf_net.collectors.cloud.azure_subscription import (
    Subscription,
    SubscriptionLookup,
)
from ebpf_net.collectors.cloud.providers import Budget, PartKey
from ebpf_net.collectors.cloud.records import Interface


class Product(NamedTuple):
    """One type of resource, and how its items are read."""

    name: str
    kind: str
    read: Callable[[Item, Lookup], Iterator[Interface]]


PRODUCTS = (
    Product("load-balancers", "Microsoft.Network/loadBalancers", read_load_balancer),
    Product(
        "application-gateways",
        "Microsoft.Network/applicationGateways",
        read_application_gateway,
    ),
    Product("nat-gateways", "Microsoft.Network/natGateways", read_nat_gateway),
)


class FrontEnds:
    """All resources of one type; a Part."""

    def __init__(self, subscription: Subscription, product: Product) -> None:
        self.key = PartKey(AZURE, subscription.subscription_id, product.name)
        self._subscription = subscription
        self._product = product

    @property
    def account_name(self) -> str:
        """What people call the subscription."""
        return self._subscription.name

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        """Yield all of them; see Part."""
        lookup = SubscriptionLookup(self._subscription, budget)
        for page in self._subscription.pages(budget, self._product.kind):
            for item in page:
                yield from self._product.read(item, lookup)


class OtherPublicAddresses:
    """Public addresses of firewalls, VPN gateways and the like; a Part."""

    def __init__(self, subscription: Subscription) -> None:
        self.key = PartKey(AZURE, subscription.subscription_id, "public-addresses")
        self._subscription = subscription

    @property
    def account_name(self) -> str:
        """What people call the subscription."""
        return self._subscription.name

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        """Yield all of them; see Part."""
        lookup = SubscriptionLookup(self._subscription, budget)
        for item in self._subscription.public_addresses.require(budget).others:
            yield from read_public_address(item, lookup)
