"""What connection tracking is asked of sockets: whose connection is each one's?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.conntrack import BEFORE_ALL, NOT_FIRST, Sockets
from ebpf_net.collectors.kernel.records import TcpFlag
from ebpf_net.collectors.kernel.translations import Int64s
from ebpf_net.schema import Protocol, Role

Records = npt.NDArray[Any]

_ENDED = TcpFlag.CLOSED | TcpFlag.FAILED
_TCP_SYN_SENT = 2  # include/net/tcp_states.h
_END_OF_TIME = np.iinfo(np.uint64).max


def tcp_sockets(records: Records, roles: Int64s, scanned_ns: int) -> Sockets:
    """Return the question for TCP_RECORD; ``scanned_ns``: of the scan before them."""
    return Sockets(
        local=records["local_address"],
        remote=records["remote_address"],
        local_ports=records["local_port"],
        remote_ports=records["remote_port"],
        netns=records["netns"],
        from_ns=records["time_ns"],
        until_ns=records["time_ns"],
        fresh_ns=_began_after(records, scanned_ns),
        cookies=records["cookie"],
        roles=roles.astype(np.uint8),
        are_closing=(records["flags"] & _ENDED) != 0,
        are_retried=(records["syn_timeouts"] > 0) & (roles == Role.CLIENT),
        protocol=Protocol.TCP,
    )


def udp_sockets(keys: Records, values: Records, since_ns: int) -> Sockets:
    """Return the question for UDP_KEY and UDP_VALUE seen since a time."""
    return Sockets(
        local=keys["local_address"],
        remote=keys["remote_address"],
        local_ports=keys["local_port"],
        remote_ports=keys["remote_port"],
        netns=values["netns"],
        from_ns=np.full(keys.size, since_ns, np.uint64),
        until_ns=np.full(keys.size, _END_OF_TIME, np.uint64),
        fresh_ns=np.full(keys.size, NOT_FIRST, np.uint64),
        cookies=np.zeros(keys.size, np.uint64),
        roles=values["role"],
        are_closing=np.zeros(keys.size, np.bool_),
        are_retried=np.zeros(keys.size, np.bool_),
        protocol=Protocol.UDP,
    )


def _began_after(records: Records, scanned_ns: int) -> npt.NDArray[np.uint64]:
    """Return a time before the connections of first records began.

    Those that were there at the last window's scan, after its look, had it there.
    """
    before_ns = records["connect_us"].astype(np.uint64) * 1000
    scanned = np.uint64(scanned_ns)
    began_ns: npt.NDArray[np.uint64] = scanned - np.minimum(before_ns, scanned)
    began_ns[~_are_first(records)] = NOT_FIRST
    began_ns[(records["flags"] & TcpFlag.ADOPTED) != 0] = BEFORE_ALL
    return began_ns


def _are_first(records: Records) -> npt.NDArray[np.bool_]:
    """Say which tell of new connections; no packet leaves where a port is in use."""
    flags = records["flags"]
    asks = ((flags & TcpFlag.FAILED) != 0) | (records["state"] == _TCP_SYN_SENT)
    asks &= records["segments_sent"] > 0
    first: npt.NDArray[np.bool_] = asks | ((flags & TcpFlag.OPENED) != 0)
    return first
