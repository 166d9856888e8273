"""A client and a server with a gateway between them that changes addresses."""

from __future__ import annotations

from ebpf_net.schema import Role
from tests.world.gateway import Family, forward, nft_rules, send_by
from tests.world.hosts import Host, Network

_ROUTED = ("prerouting", "postrouting")


class Scene:
    """Client and server, and a gateway whose rules change their packets' addresses."""

    def __init__(self, network: Network, family: Family, kind: str) -> None:
        self.family = family
        self.client = network.host("client")
        self.gateway = network.host("gateway")
        self.server = network.host("server") if kind != "hairpin" else self.client
        self.asked = family.service if kind != "SNAT" else family.address(self.server)
        self.port = 80 if kind != "SNAT" else 5000
        self.outer = family.address(self.client if kind == "DNAT" else self.gateway)
        forward(self.gateway)
        send_by(self.client, self.gateway, family, self.asked)
        if kind == "DNAT":
            send_by(self.server, self.gateway, family, family.address(self.client))
        self.gateway.nft(self._rules(kind))

    def _rules(self, kind: str) -> str:
        family = self.family
        match = f"{family.table} daddr {family.service} meta l4proto {{ tcp, udp }}"
        there = family.with_port(family.address(self.server), 5000)
        dnat = f"{match} th dport 80 dnat to {there}" if kind != "SNAT" else ""
        snat = f"snat to {family.address(self.gateway)}" if kind != "DNAT" else ""
        return nft_rules(family, _ROUTED, dnat, snat)

    def hosts(self, place: str) -> list[Host]:
        """Return whom the collector at a place sees; translating is always seen."""
        by_place = {
            "client": [self.client, self.gateway],
            "server": [self.server, self.gateway],
            "gateway": [self.gateway],
            "all": [self.client, self.gateway, self.server],
        }
        return by_place[place]

    @property
    def translation(self) -> tuple[str, str, str, str]:
        """Return what a collector should tell."""
        address = self.family.address
        return (
            address(self.client),
            f"{self.asked} {self.port}",
            self.outer,
            f"{address(self.server)} 5000",
        )

    def ends(self, role: Role) -> dict[str, object]:
        """Return the true ends, as of one of them."""
        client = self.family.address(self.client)
        server = self.family.address(self.server)
        if role == Role.CLIENT:
            return {
                "role": role,
                "local": client,
                "remote": server,
                "remote_port": 5000,
            }
        return {"role": role, "local": server, "remote": client, "local_port": 5000}
