from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ebpf_net.reducer.networks import Networks, parse_networks
from ebpf_net.testing.tables import split_address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def names_of(networks: Networks, *addresses: str) -> list[str | None]:
    high, low = np.array([split_address(text) for text in addresses], np.int64).T
    return [
        networks.names[row].as_py() if row >= 0 else None
        for row in networks.find(high, low).tolist()
    ]


def test_longest_prefix_wins():
    networks = parse_networks("10.0.0.0/8 all\n10.1.0.0/16 site\n10.1.2.3 printer\n")
    addresses = ("10.2.0.1", "10.1.2.2", "10.1.2.3", "10.1.2.4", "11.0.0.0")
    assert names_of(networks, *addresses) == ["all", "site", "printer", "site", None]


def test_lines_may_have_commas_and_comments():
    networks = parse_networks(
        "# ours\n\n 10.0.0.0/8,  the office # all of it\n2001:db8::/32\tlab\n"
        "::ffff:192.0.2.0/120 mapped\n"
    )
    addresses = ("10.0.0.1", "2001:db8::1", "192.0.2.9")
    assert names_of(networks, *addresses) == ["the office", "lab", "mapped"]


def test_network_of_everything_is_of_its_version_only():
    assert names_of(parse_networks("::/0 all"), "::", "ffff::", "1.2.3.4") == [
        "all",
        "all",
        None,
    ]
    everything = parse_networks("0.0.0.0/0 all")
    assert names_of(everything, "255.255.255.255", "::1") == ["all", None]
    assert names_of(parse_networks(""), "10.0.0.1") == [None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.0/8", "line 1: '10.0.0.0/8' has no name behind the network"),
        (
            "10.0.0.0/8 a\n10.0.0.1/8 b",
            "line 2: 10.0.0.1/8 has host bits set: write 10.0.0.0/8",
        ),
        ("office 10.0.0.0/8", "line 1: 'office' does not appear"),
        ("10.0.0.0/8 a\n10.0.0.0/8 b", "line 2: 10.0.0.0/8 has two names"),
        ("10.0.0.0/8 " + "a" * 257, "line 1: a name of 257 characters"),
    ],
)
def test_bad_line_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_networks(text)


networks_in = st.lists(
    st.one_of(
        st.builds(
            lambda high, length: ipaddress.ip_network(
                ((high << 26) & 0xFFFF_FFFF, length), strict=False
            ),
            st.integers(0, 63),
            st.integers(0, 32),
        ),
        st.builds(
            lambda high, low, length: ipaddress.IPv6Network(
                ((high << 122) | low, length), strict=False
            ),
            st.integers(0, 63),
            st.integers(0, 3),
            st.integers(0, 128),
        ),
    ),
    max_size=12,
    unique=True,
)
addresses_in = st.lists(
    st.one_of(
        st.integers(0, (1 << 32) - 1).map(ipaddress.IPv4Address),
        st.builds(
            lambda high, low: ipaddress.IPv6Address((high << 122) | low),
            st.integers(0, 63),
            st.integers(0, 7),
        ),
    ),
    min_size=1,
    max_size=20,
)


def expected(networks: list[Network], address: Address) -> str | None:
    fitting = [
        network
        for network in networks
        if network.version == address.version and address in network
    ]
    best = max(fitting, key=lambda network: network.prefixlen, default=None)
    return str(best) if best else None


@given(networks_in, addresses_in)
@example(
    [ipaddress.ip_network("::/0"), ipaddress.ip_network("ffff::/16")],
    [ipaddress.ip_address("ffff:ffff::")],
)
def test_names_are_those_that_the_standard_library_finds(networks, addresses):
    ends = [network[0] for network in networks] + [network[-1] for network in networks]
    asked = [
        address
        for address in addresses + ends
        if address.version == 4 or address.ipv4_mapped is None
    ]
    if not asked:
        return
    parsed = parse_networks("\n".join(f"{network} {network}" for network in networks))
    found = names_of(parsed, *map(str, asked))
    assert found == [expected(networks, address) for address in asked]
