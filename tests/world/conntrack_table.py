"""A host whose table of connection tracking is full, and nobody else's.

The kernel's limit holds for each network namespace alone, so entries of no connection
are enough: no setting of the machine changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.world.hosts import Host, run

_MARK = "4242"
_ENTRY = (
    "-A -p tcp -s 198.18.{}.{} -d 198.19.0.{} --sport 1 --dport 2 "
    f"--state ESTABLISHED -u ASSURED -t 3600 -m {_MARK}\n"
)


@contextmanager
def full_conntrack(host: Host, directory: Path) -> Iterator[None]:
    """Fill what is left with entries that the kernel does not give up for others."""
    entries = directory / "entries"
    limit, count = (_read(host, f"nf_conntrack_{name}") for name in ("max", "count"))
    with entries.open("w", encoding="ascii") as file:
        for number in range(limit - count):
            file.write(_ENTRY.format(number >> 16, number >> 8 & 255, number & 255))
    _conntrack(host, "-R", str(entries))
    try:
        yield
    finally:
        _conntrack(host, "-D", "-m", _MARK)


def count_conntrack_drops(host: Host) -> int:
    """Return the packets that found no room in the host's table."""
    return sum(map(int, re.findall(r" drop=(\d+)", _conntrack(host, "-S"))))


def _conntrack(host: Host, *arguments: str) -> str:
    return run("ip", "netns", "exec", host.netns, "conntrack", *arguments)


def _read(host: Host, name: str) -> int:
    path = f"/proc/sys/net/netfilter/{name}"
    return int(run("ip", "netns", "exec", host.netns, "cat", path))
