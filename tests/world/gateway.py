"""A host that translates addresses between others, or for itself, as rules say."""

from __future__ import annotations

from dataclasses import dataclass

from tests.world.hosts import Host, run

_FORWARD = """\
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects
echo 0 >/proc/sys/net/ipv4/conf/eth0/send_redirects
"""
_REFUSE_REDIRECTS = """\
echo 0 >/proc/sys/net/ipv4/conf/all/accept_redirects
echo 0 >/proc/sys/net/ipv4/conf/eth0/accept_redirects
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_redirects
"""


@dataclass(frozen=True)
class Family:
    """How the rules of one version of IP are written."""

    name: str
    table: str
    service: str
    length: int

    def address(self, host: Host) -> str:
        """Return the host's address."""
        return host.address if self.table == "ip" else host.address6

    def with_port(self, address: str, port: int) -> str:
        """Return both as nftables and iptables write them."""
        return f"{address}:{port}" if self.table == "ip" else f"[{address}]:{port}"

    @property
    def iptables(self) -> str:
        """Return the command of this version."""
        return "iptables" if self.table == "ip" else "ip6tables"


IPV4 = Family("IPv4", "ip", "10.96.0.10", 32)
IPV6 = Family("IPv6", "ip6", "fd96::10", 128)


def forward(gateway: Host) -> None:
    """Let a host pass on what is not for it."""
    run("ip", "netns", "exec", gateway.netns, "sh", "-c", _FORWARD)


def send_by(host: Host, gateway: Host, family: Family, *addresses: str) -> None:
    """Send what is for these addresses to the gateway, whatever that says."""
    run("ip", "netns", "exec", host.netns, "sh", "-c", _REFUSE_REDIRECTS)
    for address in addresses:
        dest = f"{address}/{family.length}"
        host.ip("route", "add", dest, "via", family.address(gateway))


def nft_rules(family: Family, hooks: tuple[str, str], dnat: str, snat: str) -> str:
    """Return a table with a rule at each hook, of those that are not empty."""
    first, last = hooks
    return f"""
    table {family.table} nat {{
        chain first {{
            type nat hook {first} priority -100
            {dnat}
        }}
        chain last {{
            type nat hook {last} priority 100
            {snat}
        }}
    }}
    """
