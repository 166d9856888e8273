"""Builders of what cloud collectors, and kernel collectors of instances, tell."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ebpf_net.testing.tables import Row, split_address


def cloud_address(
    text: str, network: str, uid: str, span: tuple[int, int] = (0, 0)
) -> Row:
    """Build a row of cloud_addresses; ``text`` is an address or a range."""
    prefix = ipaddress.ip_network(text)
    high, low = split_address(str(prefix.network_address))
    outer = 96 if prefix.version == 4 else 0
    return {
        "address_key": f"{uid} {prefix}",
        "interface_uid": uid,
        "network": network,
        "address_high": high,
        "address_low": low,
        "prefix_length": outer + prefix.prefixlen,
        "from_ns": span[0],
        "until_ns": span[1],
    }


@dataclass
class CloudAccount:
    """An account of a cloud, as its collector tells of it."""

    account: str = "111122223333"
    provider: str = "aws"
    region: str = "eu-west-1"
    interfaces: list[Row] = field(default_factory=list)
    addresses: list[Row] = field(default_factory=list)

    def add(
        self,
        interface_id: str,
        network: str,
        private: Iterable[str] = (),
        public: Iterable[str] = (),
        *,
        span: tuple[int, int] = (0, 0),
        **more: str,
    ) -> str:
        """Add an interface with addresses; return its uid."""
        uid = f"{self.provider}/{self.account}/{self.region}/{interface_id}"
        self.interfaces.append(
            {
                "interface_uid": uid,
                "interface_id": interface_id,
                "provider": self.provider,
                "account": self.account,
                "region": self.region,
                "network": network,
                "kind": "other",
                "tags": "{}",
                **more,
            }
        )
        self.addresses += [cloud_address(one, network, uid, span) for one in private]
        self.addresses += [cloud_address(one, "", uid, span) for one in public]
        return uid

    @property
    def tables(self) -> Mapping[str, Iterable[Row]]:
        """All that is told of the account."""
        key = f"{self.provider}/{self.account}"
        named = {"provider": self.provider, "account": self.account}
        return {
            "cloud_accounts": [{"account_key": key, **named}],
            "cloud_interfaces": self.interfaces,
            "cloud_addresses": self.addresses,
        }


def instance_row(instance: str, provider: str = "aws", **more: str) -> Row:
    """Build the row of cloud_instances of a host."""
    key = f"{provider}/{instance}"
    known = {"instance_key": key, "provider": provider, "instance_id": instance}
    return {**known, **more}


def instance_address_row(
    private: str, network: str, public: str = "", interface: str = "eni-0", **more: str
) -> Row:
    """Build a row of cloud_instance_addresses."""
    high, low = split_address(private)
    public_high, public_low = split_address(public) if public else (0, 0)
    return {
        "address_key": f"{interface} {private}",
        "interface_id": interface,
        "network": network,
        "private_address_high": high,
        "private_address_low": low,
        "public_address_high": public_high,
        "public_address_low": public_low,
        **more,
    }
