"""One subscription of Azure: what several of its parts look things up in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ebpf_net.collectors.cloud.azure_ids import short_id
from ebpf_net.collectors.cloud.azure_kept import Kept
from ebpf_net.collectors.cloud.azure_owners import owner_of_public
from ebpf_net.collectors.cloud.azure_session import AzureSession, Item
from ebpf_net.collectors.cloud.azure_shapes import properties_of
from ebpf_net.collectors.cloud.providers import Budget
from ebpf_net.collectors.object_labels import AllowList

_NETWORK_VERSION = "2024-05-01"
_LOCATIONS_VERSION = "2022-12-01"
_LOCATIONS_PERMISSION = "Microsoft.Resources/subscriptions/locations/read"
_PREFIX_SECONDS = 600.0
_ZONES_SECONDS = 3600.0
_ADDRESS_SECONDS = 30.0
_UNKNOWN_SECONDS = 5.0
"""What a listing of this age does not have may be in a new one."""


class PublicAddresses(NamedTuple):
    """All of a subscription; ``others`` are those that no other listing names."""

    texts: Mapping[str, str]
    others: tuple[Item, ...]


class Subscription:
    """For any thread."""

    def __init__(
        self, subscription_id: str, session: AzureSession, allowed: AllowList
    ) -> None:
        self.subscription_id = subscription_id
        self.name = ""
        self.allowed = allowed
        self.session = session
        self.public_addresses: Kept[PublicAddresses] = Kept(
            PublicAddresses({}, ()), _ADDRESS_SECONDS, self._list_public_addresses
        )
        self.prefixes: Kept[Mapping[str, str]] = Kept(
            {}, _PREFIX_SECONDS, self._list_prefixes
        )
        self.zones: Kept[Mapping[tuple[str, str], str]] = Kept(
            {}, _ZONES_SECONDS, self._list_zones
        )

    def pages(
        self, budget: Budget, kind: str, version: str = _NETWORK_VERSION
    ) -> Iterator[list[Item]]:
        """Yield all resources of a type: ``Microsoft.Network/loadBalancers``."""
        path = f"/subscriptions/{self.subscription_id}/providers/{kind}"
        return self.session.pages(
            budget, f"{kind}/read", f"{path}?api-version={version}"
        )

    def _list_public_addresses(
        self, budget: Budget, _: PublicAddresses
    ) -> PublicAddresses:
        texts: dict[str, str] = {}
        others: list[Item] = []
        for page in self.pages(budget, "Microsoft.Network/publicIPAddresses"):
            for item in page:
                properties = properties_of(item)
                texts[short_id(item["id"])] = properties.get("ipAddress") or ""
                if owner_of_public(properties) is not None:
                    others.append(item)
        return PublicAddresses(texts, tuple(others))

    def _list_prefixes(self, budget: Budget, _: Mapping[str, str]) -> Mapping[str, str]:
        return {
            short_id(item["id"]): properties_of(item).get("ipPrefix") or ""
            for page in self.pages(budget, "Microsoft.Network/publicIPPrefixes")
            for item in page
        }

    def _list_zones(
        self, budget: Budget, _: Mapping[tuple[str, str], str]
    ) -> Mapping[tuple[str, str], str]:
        path = f"/subscriptions/{self.subscription_id}/locations"
        pages = self.session.pages(
            budget, _LOCATIONS_PERMISSION, f"{path}?api-version={_LOCATIONS_VERSION}"
        )
        return {
            (location["name"], zone["logicalZone"]): zone["physicalZone"]
            for page in pages
            for location in page
            for zone in location.get("availabilityZoneMappings") or ()
        }


class SubscriptionLookup:
    """A Lookup for one fetch of one part. Nothing is listed that nobody looks up."""

    def __init__(self, subscription: Subscription, budget: Budget) -> None:
        self.allowed = subscription.allowed
        self._subscription = subscription
        self._budget = budget
        self._addresses: Mapping[str, str] | None = None
        self._are_addresses_new = False
        self._prefixes: Mapping[str, str] | None = None
        self._are_prefixes_new = False
        self._zones: Mapping[tuple[str, str], str] | None = None
        self._own: Mapping[str, str] = {}

    def add_addresses(self, addresses: Mapping[str, str]) -> None:
        """Look public addresses up here first."""
        self._own = addresses

    def public_address(self, resource_id: str) -> str:
        """Return a public address, or nothing; see Lookup."""
        if not resource_id:
            return ""
        key = short_id(resource_id)
        if key in self._own:
            return self._own[key]
        kept = self._subscription.public_addresses
        if self._addresses is None:
            self._addresses = kept.get(self._budget).texts
        if not self._addresses.get(key) and not self._are_addresses_new:
            self._are_addresses_new = True
            self._addresses = kept.get(self._budget, _UNKNOWN_SECONDS).texts
        return self._addresses.get(key, "")

    def public_prefix(self, resource_id: str) -> str:
        """Return a range of public addresses, or nothing; see Lookup."""
        if not resource_id:
            return ""
        key = short_id(resource_id)
        kept = self._subscription.prefixes
        if self._prefixes is None:
            self._prefixes = kept.get(self._budget)
        if key not in self._prefixes and not self._are_prefixes_new:
            self._are_prefixes_new = True
            self._prefixes = kept.get(self._budget, _UNKNOWN_SECONDS)
        return self._prefixes.get(key, "")

    def zone_id(self, region: str, zone: str) -> str:
        """Return the physical zone of a logical one; see Lookup."""
        if self._zones is None:
            self._zones = self._subscription.zones.get(self._budget)
        return self._zones.get((region, zone), "")
