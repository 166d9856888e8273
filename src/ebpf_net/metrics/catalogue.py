"""The metrics of the flow tables: name, unit, kind and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ebpf_net.schema import (
    COST_PARTS,
    ConnectFailure,
    Derived,
    Drop,
    Protocol,
    Sample,
    ZoneRelation,
)


class Kind(Enum):
    """How values of a metric combine over time."""

    SUM = "sum"  # monotonic; a delta in each window
    GAUGE = "gauge"
    HISTOGRAM = "histogram"  # exponential, schema.HISTOGRAM_SCALE


@dataclass(frozen=True)
class Metric:
    """One metric of the flow tables.

    ``column`` is a column of LEVEL_EDGES. ``divisor`` names a column to divide by: rows
    where it is zero have no point. With ``sample``, the values are the rows of
    LEVEL_SAMPLES of that kind: a histogram (``column`` is its sum in microseconds,
    ``count`` its count) or a sum by reason, where the attribute ``reason_attribute``
    has a value of ``reasons`` by bucket. Without ``protocol`` it is a sum by reason of
    all protocols, with TRANSPORT as an attribute. ``parts`` of what is counted are one
    of ``unit``.
    """

    name: str
    unit: str
    kind: Kind
    protocol: Protocol | None
    column: str
    description: str
    divisor: str = ""
    sample: Sample | Derived | None = None
    reason_attribute: str = ""
    reasons: tuple[tuple[int, str], ...] = ()
    enabled: bool = True
    parts: int = 1

    @property
    def group(self) -> str:
        """The part of the name before its first dot, as in ``--disable-metrics``."""
        return self.name.split(".", 1)[0]

    def is_of(self, protocol: Protocol) -> bool:
        """Return whether edges of this protocol have the metric."""
        return self.protocol in (None, protocol)


TRANSPORT = "network.transport"
CURRENCY = "{currency}"
"""The unit of what is money, until the price file's is known."""

_TCP = Protocol.TCP
_UDP = Protocol.UDP
_RELATIONS = tuple((int(one), one.name.lower()) for one in ZoneRelation)

METRICS: tuple[Metric, ...] = (
    Metric(
        "tcp.bytes",
        "By",
        Kind.SUM,
        _TCP,
        "bytes",
        "Payload sent from source to dest, retransmissions not counted.",
    ),
    Metric(
        "tcp.packets",
        "1",
        Kind.SUM,
        _TCP,
        "packets",
        "TCP segments sent from source to dest.",
    ),
    Metric(
        "tcp.retrans",
        "1",
        Kind.SUM,
        _TCP,
        "retransmits",
        "Segments that source sent again.",
    ),
    Metric(
        "tcp.resets",
        "1",
        Kind.SUM,
        _TCP,
        "resets",
        "Resets sent from source to dest.",
    ),
    Metric(
        "tcp.syn_timeouts",
        "1",
        Kind.SUM,
        _TCP,
        "syn_timeouts",
        "SYN or SYN-ACK segments that source sent again for want of an answer.",
    ),
    Metric(
        "tcp.new_sockets",
        "1",
        Kind.SUM,
        _TCP,
        "opened",
        "Sockets at source whose connection with dest was established.",
    ),
    Metric(
        "tcp.active",
        "1",
        Kind.GAUGE,
        _TCP,
        "open",
        "Sockets at source with an open connection to dest at the window's end.",
    ),
    Metric(
        "tcp.rtt.average",
        "us",
        Kind.GAUGE,
        _TCP,
        "rtt_sum_us",
        "Mean smoothed round-trip time, measured at source.",
        divisor="rtt_count",
    ),
    Metric(
        "tcp.rtt.num_measurements",
        "1",
        Kind.GAUGE,
        _TCP,
        "rtt_count",
        "Sockets whose round-trip time is in tcp.rtt.average.",
        enabled=False,
    ),
    Metric(
        "tcp.rtt",
        "s",
        Kind.HISTOGRAM,
        _TCP,
        "rtt_sum_us",
        "Smoothed round-trip time, one sample a socket and window, measured at source.",
        divisor="rtt_count",
        sample=Sample.RTT,
    ),
    Metric(
        "tcp.connect.duration",
        "s",
        Kind.HISTOGRAM,
        _TCP,
        "connect_sum_us",
        "From the first SYN to the established connection, at the connecting side.",
        divisor="connect_count",
        sample=Sample.CONNECT_DURATION,
    ),
    Metric(
        "tcp.connect.failures",
        "1",
        Kind.SUM,
        _TCP,
        "connect_failures",
        "Connects from source to dest that failed, by reason.",
        sample=Sample.CONNECT_FAILURE,
        reason_attribute="error.type",
        reasons=tuple((int(reason), reason.name.lower()) for reason in ConnectFailure),
    ),
    Metric(
        "udp.bytes",
        "By",
        Kind.SUM,
        _UDP,
        "bytes",
        "UDP payload sent from source to dest.",
    ),
    Metric(
        "udp.packets",
        "1",
        Kind.SUM,
        _UDP,
        "packets",
        "Datagrams sent from source to dest.",
    ),
    Metric(
        "udp.drops",
        "1",
        Kind.SUM,
        _UDP,
        "drops",
        "Datagrams from source that dest's socket had to drop, by reason.",
        sample=Sample.DROP,
        reason_attribute="reason",
        reasons=tuple((int(reason), reason.name.lower()) for reason in Drop),
    ),
    Metric(
        "udp.active",
        "1",
        Kind.GAUGE,
        _UDP,
        "open",
        "UDP sockets at source that exchanged datagrams with dest in the window.",
    ),
    Metric(
        "zone.bytes",
        "By",
        Kind.SUM,
        None,
        "bytes",
        "Payload sent from source to dest, by where they are. There is none while no "
        "zone is known and no price file given.",
        sample=Derived.ZONE_BYTES,
        reason_attribute="zone.relation",
        reasons=_RELATIONS,
    ),
    Metric(
        "zone.cost",
        CURRENCY,
        Kind.SUM,
        None,
        "bytes",
        "What the payload sent from source to dest costs by the price file, in its "
        "currency.",
        sample=Derived.ZONE_COST,
        reason_attribute="zone.relation",
        reasons=_RELATIONS,
        parts=COST_PARTS,
    ),
)
