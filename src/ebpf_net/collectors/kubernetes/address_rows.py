"""Rows of ``kubernetes_addresses``: who had which address when."""

from __future__ import annotations

from dataclasses import dataclass

from ebpf_net.collectors.addresses import Halves, parse_address
from ebpf_net.collectors.row_table import Row

PROTOCOLS = {"TCP": 6, "UDP": 17}
"""Of those that Kubernetes has, the ones that are counted."""


@dataclass(frozen=True)
class Holder:
    """Who holds addresses since when."""

    kind: str
    uid: str
    from_ns: int


def address_row(
    holder: Holder, text: str, port: int = 0, protocol: int = 0
) -> tuple[str, Row] | None:
    """Return the key and row of an address; None: the text is no address."""
    halves = parse_address(text)
    if halves is None:
        return None
    suffix = f"/{port}/{protocol}" if port else ""
    key = f"{holder.uid}/{text}{suffix}"
    return key, _row(key, holder, halves, port, protocol)


def node_port_row(holder: Holder, port: int, protocol: int) -> tuple[str, Row]:
    """Return the key and row of a port that every node has for a service."""
    key = f"{holder.uid}/*/{port}/{protocol}"
    return key, _row(key, holder, (0, 0), port, protocol)


def _row(key: str, holder: Holder, halves: Halves, port: int, protocol: int) -> Row:
    return (
        *(key, holder.kind, holder.uid, *halves),
        *(holder.from_ns, 0, port, protocol),
    )
