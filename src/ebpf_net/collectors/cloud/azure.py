"""Microsoft Azure: the subscriptions that credentials see."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ebpf_net.collectors.cloud.at_hand import AZURE
from ebpf_net.collectors.cloud.azure_front_ends import (
    PRODUCTS,
    FrontEnds,
    OtherPublicAddresses,
)
from ebpf_net.collectors.cloud.azure_interfaces import NetworkInterfaces
from ebpf_net.collectors.cloud.azure_scale_sets import ScaleSets
from ebpf_net.collectors.cloud.azure_session import AzureSession
from ebpf_net.collectors.cloud.azure_subscription import Subscription
from ebpf_net.collectors.cloud.providers import (
    Budget,
    Part,
    PartFailed,
    Provider,
    ProviderOptions,
)
from ebpf_net.errors import SettingError

_PERMISSION = "Microsoft.Resources/subscriptions/read"
_SUBSCRIPTIONS = "/subscriptions?api-version=2022-12-01"
_DELETED = "Deleted"
_SUBSCRIPTION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def make_providers(options: ProviderOptions) -> Sequence[Provider]:
    """Return the provider of all subscriptions, or of those that are named."""
    return [AzureSubscriptions(options)]


class AzureSubscriptions:
    """What the default credentials see; a Provider.

    Each subscription has a part for each product: what may not be read loses no other.
    """

    name = AZURE

    def __init__(self, options: ProviderOptions) -> None:
        self._wanted = tuple(dict.fromkeys(map(_subscription_id, options.scopes)))
        self._options = options
        self._session = AzureSession(options)
        self._subscriptions: dict[str, Subscription] = {}

    def parts(self, budget: Budget) -> Iterator[Part]:
        """Return the parts of all subscriptions; see Provider."""
        names = self._names(budget)
        self._subscriptions = {
            one: self._subscriptions.get(one)
            or Subscription(one, self._session, self._options.tags)
            for one in self._wanted or sorted(names)
        }
        for subscription in self._subscriptions.values():
            name = names.get(subscription.subscription_id)
            subscription.name = name or subscription.name
            yield NetworkInterfaces(subscription)
            yield ScaleSets(subscription)
            for product in PRODUCTS:
                yield FrontEnds(subscription, product)
            yield OtherPublicAddresses(subscription)

    def _names(self, budget: Budget) -> Mapping[str, str]:
        """Return the names of all subscriptions that may be seen, by id."""
        try:
            return {
                item["subscriptionId"].lower(): item.get("displayName") or ""
                for page in self._session.pages(budget, _PERMISSION, _SUBSCRIPTIONS)
                for item in page
                if item.get("state") != _DELETED
            }
        except PartFailed as failure:
            if not self._wanted:
                raise
            budget.do_without(failure)
            return {}


def _subscription_id(text: str) -> str:
    if not _SUBSCRIPTION_ID.fullmatch(text.lower()):
        raise SettingError(
            f"--azure-subscription is '{text}', expected a subscription's id such as "
            "6f1e3c5a-0d4b-4b6e-9a70-1c2d3e4f5a6b"
        )
    return text.lower()
