"""What an instance of a cloud knows of itself, and who is asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ebpf_net.collectors.addresses import Halves, parse_address
from ebpf_net.collectors.row_table import Row

SPOT = "spot"
ON_DEMAND = "on-demand"
_NONE: Halves = (0, 0)


@dataclass(frozen=True)
class Instance:
    """One row of ``schema.CLOUD_INSTANCES``; what is unknown is empty."""

    provider: str
    instance_id: str
    account: str = ""
    region: str = ""
    zone: str = ""
    zone_id: str = ""
    instance_type: str = ""
    name: str = ""
    lifecycle: str = ""

    @property
    def key(self) -> str:
        """What tells it from all instances of all clouds."""
        return f"{self.provider}/{self.instance_id}"

    def row(self, termination_ns: int) -> Row:
        """Return it as a row; ``termination_ns`` is 0 while none is announced."""
        return (
            self.key,
            self.provider,
            self.account,
            self.region,
            self.zone,
            self.zone_id,
            self.instance_id,
            self.instance_type,
            self.name,
            self.lifecycle,
            termination_ns,
        )


@dataclass(frozen=True)
class InstanceAddress:
    """One row of ``schema.CLOUD_INSTANCE_ADDRESSES``.

    ``private`` is what the interface has, though it may be a public address;
    ``public`` is what others see in its place, if that is another one.
    """

    interface_id: str
    private: str
    public: str = ""
    network: str = ""
    subnet: str = ""

    def row(self) -> Row | None:
        """Return it as a row; None if the private address is none."""
        private = parse_address(self.private)
        if private is None:
            return None
        return (
            f"{self.interface_id} {self.private}",
            self.interface_id,
            self.network,
            self.subnet,
            *private,
            *(parse_address(self.public) or _NONE),
        )


class MetadataSource(Protocol):
    """Who is asked; each method raises MetadataError."""

    def instance(self) -> Instance:
        """Ask for all but the addresses."""
        ...

    def addresses(self) -> list[InstanceAddress]:
        """Ask for all addresses."""
        ...

    def termination_ns(self, now_ns: int) -> int:
        """Ask when the instance, as it was asked for last, ends; 0: nobody says."""
        ...
