"""From ``struct udp_key`` and ``udp_value`` of ``bpf/udp.h`` to facts about edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.connection_ends import ConnectionEnds, ends_as_seen
from ebpf_net.collectors.kernel.edge_facts import (
    EdgeFacts,
    Int64s,
    SampleFacts,
    count32,
    pack_ends,
)
from ebpf_net.collectors.kernel.processes import process_ids
from ebpf_net.collectors.kernel.sample_counts import sample_codes
from ebpf_net.schema import Drop, Protocol, Role, Sample

Records = npt.NDArray[Any]

_SUMS = {
    "bytes_sent": "bytes_sent",
    "bytes_received": "bytes_received",
    "packets_sent": "datagrams_sent",
    "packets_received": "datagrams_received",
}


def udp_facts(
    keys: Records,
    values: Records,
    keep_client_port: bool = False,
    ends: ConnectionEnds | None = None,
) -> EdgeFacts:
    """Return what one window's peers of UDP sockets say.

    ``ends`` are the true ones, if not those seen.
    """
    sums: dict[str, npt.NDArray[Any]] = {
        name: values[field].astype(np.int64) for name, field in _SUMS.items()
    }
    sums["drops"] = count32(values["drops"].sum(axis=1, dtype=np.int64))
    ends = ends or ends_as_seen(keys)
    roles = _roles(values, ends)
    return EdgeFacts(
        key=_key(values, roles, keep_client_port, ends),
        sums=sums,
        samples=tuple(_drops(values, reason) for reason in Drop),
        sockets=keys["cookie"].astype(np.uint64),
    )


def _roles(values: Records, ends: ConnectionEnds) -> Int64s:
    """Return who is the client: the socket that began with a datagram of its own.

    Both may have, where each is a server to the other, as with gossip and NTP. Their
    ports are the same then, and the lower address is the client: both ends must agree.
    """
    near, far = (
        [half.view(np.uint64) for half in halves]
        for halves in (ends.local, ends.remote)
    )
    is_lower = (near[0] < far[0]) | ((near[0] == far[0]) & (near[1] < far[1]))
    is_self = (near[0] == far[0]) & (near[1] == far[1])
    are_peers = (ends.ports[0] == ends.ports[1]) & ~is_self
    agreed = np.where(is_lower, Role.CLIENT, Role.SERVER)
    return np.where(are_peers, agreed, values["role"]).astype(np.int64)


def _key(
    values: Records, roles: Int64s, keep_client_port: bool, ends: ConnectionEnds
) -> tuple[Int64s, ...]:
    return (
        *ends.local,
        *ends.remote,
        values["netns"].astype(np.int64),
        process_ids(values["pid"], values["owner_start_ns"]),
        values["cgroup_id"].astype(np.int64),
        ends.translation_ids,
        pack_ends(ends.ports, Protocol.UDP, roles, keep_client_port),
    )


def _drops(values: Records, reason: Drop) -> SampleFacts:
    drops = values["drops"][:, int(reason) - 1].astype(np.int64)
    positions = np.flatnonzero(drops)
    reasons = np.full(positions.size, int(reason), np.int64)
    return SampleFacts(positions, sample_codes(Sample.DROP, reasons), drops[positions])
