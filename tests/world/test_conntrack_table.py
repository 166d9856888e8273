from pathlib import Path

from tests.world import udp_traffic
from tests.world.conntrack_table import count_conntrack_drops, full_conntrack
from tests.world.hosts import Host, Network

_TRACK = """
table inet track {
    chain output {
        type filter hook output priority 0
        ct state new accept
    }
}
"""


def send(host: Host) -> bool:
    """Say whether a datagram could leave the host."""
    try:
        host.worker().call(udp_traffic.send_datagrams, "127.0.0.1", 9, 1, 10)
    except PermissionError:
        return False
    return True


def test_only_this_hosts_table_is_full_and_only_meanwhile(
    network: Network, tmp_path: Path
) -> None:
    full, other = network.host("full"), network.host("other")
    for host in (full, other):
        host.nft(_TRACK)
    with full_conntrack(full, tmp_path):
        assert (send(full), send(other)) == (False, True)
        assert (count_conntrack_drops(full), count_conntrack_drops(other)) == (1, 0)
    assert send(full)
