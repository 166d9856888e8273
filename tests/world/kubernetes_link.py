"""A way from the test's own network namespace to a host of the test."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

from tests.world.hosts import Host, run


def join_host(host: Host) -> str:
    """Join the host to the test's network namespace and return the host's address."""
    number = next(filter(lambda number: _add_link(host, number), range(256)))
    name = _link_name(number)
    run("ip", "address", "add", f"100.127.{number}.1/30", "dev", name)
    run("ip", "link", "set", name, "up")
    host.ip("address", "add", f"100.127.{number}.2/30", "dev", "test")
    host.ip("link", "set", "test", "up")
    return f"100.127.{number}.2"


def other_end(address: str) -> str:
    """Return the address of the test's end of the link whose host has this one."""
    return str(IPv4Address(address) - 1)


def leave_host(host: Host) -> None:
    """Remove the link, if there is one: the host's namespace may outlive the host.

    Sockets that wait for a last acknowledgement keep it for minutes.
    """
    if '"test"' in host.ip("-json", "link", "show"):
        host.ip("link", "delete", "test")


def _add_link(host: Host, number: int) -> bool:
    """Add a link of this number, unless another test run has it."""
    name = _link_name(number)
    if Path("/sys/class/net", name).exists():
        return False
    peer = ("peer", "name", "test", "netns", host.netns)
    try:
        run("ip", "link", "add", name, "type", "veth", *peer)
    except RuntimeError:
        if Path("/sys/class/net", name).exists():
            return False
        raise
    return True


def _link_name(number: int) -> str:
    return f"ebpfnetk{number}"
