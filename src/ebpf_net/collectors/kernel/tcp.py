"""From ``struct tcp_record`` of ``bpf/tcp.h`` to facts about edges."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.addresses import address_halves
from ebpf_net.collectors.kernel.connection_ends import ConnectionEnds, ends_as_seen
from ebpf_net.collectors.kernel.edge_facts import (
    EdgeFacts,
    Int64s,
    SampleFacts,
    count32,
    pack_ends,
)
from ebpf_net.collectors.kernel.key_index import Hashes, hash_columns
from ebpf_net.collectors.kernel.processes import process_ids
from ebpf_net.collectors.kernel.records import TcpFlag
from ebpf_net.collectors.kernel.rtt_samples import RttFacts
from ebpf_net.collectors.kernel.sample_counts import duration_buckets, sample_codes
from ebpf_net.schema import ConnectFailure, Protocol, Role, Sample

Records = npt.NDArray[Any]

_TCP_CLOSE = 7  # include/net/tcp_states.h
_SUMS = {
    "bytes_sent": "bytes_sent",
    "bytes_received": "bytes_received",
    "packets_sent": "segments_sent",
    "packets_received": "segments_received",
}
_COUNTS = ("retransmits", "resets_sent", "resets_received", "syn_timeouts")

_FAILURES = {
    0: ConnectFailure.CANCELLED,
    errno.EINTR: ConnectFailure.CANCELLED,
    errno.ECONNREFUSED: ConnectFailure.REFUSED,
    errno.ECONNRESET: ConnectFailure.RESET,
    errno.ETIMEDOUT: ConnectFailure.TIMED_OUT,
    errno.EHOSTUNREACH: ConnectFailure.HOST_UNREACHABLE,
    errno.ENETUNREACH: ConnectFailure.NET_UNREACHABLE,
}
_FAILURE_OF_ERRNO = np.full(1 << 16, ConnectFailure.OTHER, np.int8)
for _number, _failure in _FAILURES.items():
    _FAILURE_OF_ERRNO[_number] = _failure


def socket_ids(records: Records) -> Hashes:
    """Return a number for each record's socket: its cookie, or a hash of its ends."""
    cookies: Hashes = records["cookie"].copy()
    unknown = np.flatnonzero(cookies == 0)
    if unknown.size:
        without = records[unknown]
        cookies[unknown] = hash_columns(
            [
                *address_halves(without["local_address"]),
                *address_halves(without["remote_address"]),
                without["local_port"],
                without["remote_port"],
                without["netns"],
            ]
        )
    return cookies


def tcp_facts(
    records: Records,
    roles: Int64s,
    sockets: Hashes,
    keep_client_port: bool = False,
    ends: ConnectionEnds | None = None,
) -> EdgeFacts:
    """Return what records say; ``roles`` are settled, LISTENER is not among them.

    ``sockets`` are their ``socket_ids``; ``ends`` the true ones, if not those seen.
    """
    flags = records["flags"]
    opened = (flags & TcpFlag.OPENED) != 0
    closed = (flags & TcpFlag.CLOSED) != 0
    failed = ((flags & TcpFlag.FAILED) != 0) & (roles == Role.CLIENT)
    appeared = (flags & (TcpFlag.OPENED | TcpFlag.ADOPTED)) != 0
    connect_us = np.where(opened, records["connect_us"], 0).astype(np.int64)
    sums: dict[str, npt.NDArray[Any]] = {
        "opened": opened.astype(np.int32),
        "closed": closed.astype(np.int32),
        "open": appeared.astype(np.int32) - closed.astype(np.int32),
    }
    for name, field in _SUMS.items():
        sums[name] = records[field].astype(np.int64)
    for name in _COUNTS:
        if records[name].any():
            sums[name] = count32(records[name])
    if connect_us.any():
        sums["connect_sum_us"] = connect_us
        sums["connect_count"] = (connect_us > 0).astype(np.int32)
    if failed.any():
        sums["connect_failures"] = failed.astype(np.int32)
    return EdgeFacts(
        key=_key(records, roles, keep_client_port, ends or ends_as_seen(records)),
        sums=sums,
        rtt_min_us=count32(records["min_rtt_us"]),
        samples=(_connects(connect_us), _failures(records, failed)),
        rtt=_rtts(records, sockets, closed),
    )


def _key(
    records: Records, roles: Int64s, keep_client_port: bool, ends: ConnectionEnds
) -> tuple[Int64s, ...]:
    return (
        *ends.local,
        *ends.remote,
        records["netns"].astype(np.int64),
        process_ids(records["pid"], records["owner_start_ns"]),
        records["cgroup_id"].astype(np.int64),
        ends.translation_ids,
        pack_ends(ends.ports, Protocol.TCP, roles, keep_client_port),
    )


def _connects(connect_us: Int64s) -> SampleFacts:
    positions = np.flatnonzero(connect_us)
    buckets = duration_buckets(connect_us[positions])
    return SampleFacts(positions, sample_codes(Sample.CONNECT_DURATION, buckets))


def _failures(records: Records, failed: npt.NDArray[np.bool_]) -> SampleFacts:
    positions = np.flatnonzero(failed)
    reasons = _FAILURE_OF_ERRNO[records["error"][positions]].astype(np.int64)
    return SampleFacts(positions, sample_codes(Sample.CONNECT_FAILURE, reasons))


def _rtts(records: Records, sockets: Hashes, closed: npt.NDArray[np.bool_]) -> RttFacts:
    # A late reset's record repeats what the record of the close has told.
    told = (records["state"] == _TCP_CLOSE) & ~closed
    positions = np.flatnonzero((records["srtt_us"] != 0) & ~told)
    return RttFacts(
        positions,
        sockets[positions],
        records["time_ns"][positions].astype(np.int64),
        count32(records["srtt_us"][positions]).astype(np.int64),
        closed[positions],
    )
