"""Networks with names given by the user: the longest prefix that fits wins.

Nested networks are made into stretches that do not overlap when the file is read, so
that finding an address is one binary search.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ebpf_net.reducer.addresses import is_mapped
from ebpf_net.reducer.keys import Int64
from ebpf_net.reducer.lookups import NOBODY, nobody

_MAX_NAME = 256

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class _Stretches:
    """Where each stretch of addresses starts, and the number of its name."""

    start: NDArray[np.generic]
    name: Int64

    def find(self, addresses: NDArray[np.generic]) -> Int64:
        place = np.searchsorted(self.start, addresses, "right") - 1
        return np.where(place >= 0, self.name[place], NOBODY)


def _no_stretches() -> _Stretches:
    return _Stretches(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True)
class Networks:
    """Names of networks; ``names`` are distinct."""

    names: pa.StringArray = field(default_factory=lambda: pa.array([], pa.string()))
    _ipv4: _Stretches = field(default_factory=_no_stretches)
    _ipv6: _Stretches = field(default_factory=_no_stretches)

    @cached_property
    def table(self) -> pa.Table:
        """The names as a table."""
        return pa.table({"name": self.names})

    def find(self, high: Int64, low: Int64) -> Int64:
        """Return the number of the name of each address, or NOBODY."""
        result = nobody(len(high))
        mapped = is_mapped(high, low)
        if len(self._ipv4.start):
            chosen = np.flatnonzero(mapped)
            result[chosen] = self._ipv4.find(low[chosen] & 0xFFFF_FFFF)
        if len(self._ipv6.start):
            chosen = np.flatnonzero(~mapped)
            result[chosen] = self._ipv6.find(_packed(high[chosen], low[chosen]))
        return result

    def __len__(self) -> int:
        return len(self.names)


def parse_networks(text: str) -> Networks:
    """Read lines of a network and its name; ``#`` begins a comment.

    Raises ValueError with the line's number and what is wrong there.
    """
    named: dict[Network, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        try:
            network, name = _parse_entry(entry)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if named.setdefault(network, name) != name:
            raise ValueError(f"line {number}: {network} has two names")
    return _make_networks(named)


def _parse_entry(entry: str) -> tuple[Network, str]:
    parts = entry.replace(",", " ", 1).split(maxsplit=1)
    if len(parts) < 2:
        raise ValueError(f"{entry!r} has no name behind the network")
    network, name = _parse_network(parts[0]), parts[1].strip()
    if len(name) > _MAX_NAME:
        raise ValueError(f"a name of {len(name)} characters, {_MAX_NAME} are allowed")
    return _without_mapping(network), name


def _parse_network(text: str) -> Network:
    network = ipaddress.ip_network(text, strict=False)
    address = ipaddress.ip_address(text.partition("/")[0])
    if address != network.network_address:
        raise ValueError(f"{text} has host bits set: write {network}")
    return network


def _without_mapping(network: Network) -> Network:
    """Return an IPv4-mapped network as the IPv4 one that it is."""
    first = int(network.network_address)
    if network.version == 4 or network.prefixlen < 96 or first >> 32 != 0xFFFF:
        return network
    return ipaddress.IPv4Network((first & 0xFFFF_FFFF, network.prefixlen - 96))


def _make_networks(named: dict[Network, str]) -> Networks:
    names = {name: number for number, name in enumerate(sorted(set(named.values())))}
    by_version: dict[int, list[tuple[int, int, int]]] = {4: [], 6: []}
    for network, name in named.items():
        first, last = int(network.network_address), int(network.broadcast_address)
        by_version[network.version].append((first, -last, names[name]))
    starts4, names4 = _flatten(by_version[4])
    starts6, names6 = _flatten(by_version[6])
    packed = b"".join(start.to_bytes(16, "big") for start in starts6)
    return Networks(
        pa.array(names, pa.string()),
        _Stretches(np.array(starts4, np.int64), names4),
        _Stretches(np.frombuffer(packed, "S16"), names6),
    )


def _flatten(ranges: Iterable[tuple[int, int, int]]) -> tuple[list[int], Int64]:
    """Return where stretches start, and whose they are, of nested ranges.

    A range is (first, -last, name); sorted, an outer one comes before its inner ones.
    """
    owner: dict[int, int] = {}
    within: list[tuple[int, int]] = []
    for first, minus_last, name in sorted(ranges):
        _leave(within, owner, first)
        owner[first] = name
        within.append((-minus_last, name))
    _leave(within, owner, None)
    owner.pop(1 << 128, None)  # behind the last address
    return list(owner), np.array(list(owner.values()), np.int64)


def _leave(
    within: list[tuple[int, int]], owner: dict[int, int], until: int | None
) -> None:
    """Go out of the ranges that end before an address; what is around them goes on."""
    while within and (until is None or within[-1][0] < until):
        last, _ = within.pop()
        owner[last + 1] = within[-1][1] if within else NOBODY


def _packed(high: Int64, low: Int64) -> NDArray[np.generic]:
    packed = np.empty((len(high), 2), ">i8")
    packed[:, 0], packed[:, 1] = high, low
    return packed.view("S16").reshape(-1)
