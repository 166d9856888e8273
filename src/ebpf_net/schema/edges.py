"""Rows of connections that collectors send, and the codes in them."""

from __future__ import annotations

from enum import IntEnum

Columns = tuple[tuple[str, str], ...]


class Protocol(IntEnum):
    """IANA protocol numbers."""

    TCP = 6
    UDP = 17


class Role(IntEnum):
    """Which end of the connection the row's ``local`` side is; as in ``bpf/tcp.h``."""

    UNKNOWN = 0
    CLIENT = 1
    SERVER = 2


class Sample(IntEnum):
    """What a row of ``edge_samples`` counts, and what its ``bucket`` means."""

    RTT = 1  # exponential histogram bucket of seconds, see HISTOGRAM_SCALE
    CONNECT_DURATION = 2  # the same
    CONNECT_FAILURE = 3  # a ConnectFailure
    DROP = 4  # a Drop


class ConnectFailure(IntEnum):
    """Why a connect failed; the names are values of the attribute ``error.type``."""

    REFUSED = 1
    RESET = 2
    TIMED_OUT = 3
    HOST_UNREACHABLE = 4
    NET_UNREACHABLE = 5
    CANCELLED = 6  # the application gave up
    OTHER = 7


class Drop(IntEnum):
    """Why a UDP datagram was dropped at its socket; as ``enum udp_drop`` + 1."""

    RECEIVE_BUFFER = 1
    MEMORY = 2
    CHECKSUM = 3
    OTHER = 4


HISTOGRAM_SCALE = 2
"""Bucket ``i`` holds values in (2**(i/4), 2**((i+1)/4)] seconds: an OpenTelemetry
exponential histogram of scale 2 (data model, "Exponential Scale")."""

EDGES: Columns = (
    # Addresses are the two big-endian halves of the 16 bytes, bit patterns as signed.
    ("local_address_high", "int64"),
    ("local_address_low", "int64"),
    ("remote_address_high", "int64"),
    ("remote_address_low", "int64"),
    ("netns", "int64"),  # inode number
    ("process_id", "int64"),  # key of processes; 0: unknown
    ("cgroup_id", "int64"),  # key of cgroups; 0: unknown
    ("translation_id", "int64"),  # key of translations; 0: addresses are as sent
    ("bytes_sent", "int64"),  # payload
    ("bytes_received", "int64"),
    ("packets_sent", "int64"),  # TCP segments, UDP datagrams
    ("packets_received", "int64"),
    ("rtt_sum_us", "int64"),  # one smoothed RTT a socket and window
    ("connect_sum_us", "int64"),
    ("local_port", "int32"),  # 0: a client's ephemeral port, dropped
    ("remote_port", "int32"),
    ("retransmits", "int32"),
    ("resets_sent", "int32"),
    ("resets_received", "int32"),
    ("syn_timeouts", "int32"),
    ("opened", "int32"),  # connections established in this window
    ("closed", "int32"),
    ("open", "int32"),  # sockets open at the window's end (UDP: seen in it)
    ("connect_failures", "int32"),
    ("drops", "int32"),
    ("rtt_count", "int32"),
    ("rtt_min_us", "int32"),  # kernel's windowed minimum; 0: no sample
    ("rtt_max_us", "int32"),  # largest smoothed RTT; 0: no sample
    ("connect_count", "int32"),
    ("protocol", "int8"),
    ("role", "int8"),
)
"""One row: all connections of one process (or cgroup) with one remote (address, port)
in one window. The key is (local_address, remote_address, netns, process_id, cgroup_id,
translation_id, local_port, remote_port, protocol, role), unique within a batch. Where
this host translates addresses, local and remote are the true ones of client and server:
what the sockets saw instead is in ``translations``."""

EDGE_SAMPLES: Columns = (
    ("edge", "int32"),  # row number in the same batch's edges
    ("count", "int32"),
    ("bucket", "int16"),
    ("kind", "int8"),  # a Sample
)
