"""The metric catalogue: name, unit, kind and meaning of all that is exported.

Exporters, the user interface and docs/reference/metrics.md read it from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from ebpf_net.errors import SettingError
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


@dataclass(frozen=True)
class InternalMetric:
    """One ``ebpf_net.*`` metric of the system itself."""

    name: str
    unit: str
    kind: Kind
    labels: tuple[str, ...]
    description: str


INTERNAL_METRICS: tuple[InternalMetric, ...] = (
    InternalMetric("ebpf_net.up", "1", Kind.GAUGE, ("module",), "1 while it runs."),
    InternalMetric("ebpf_net.intake.rows", "1", Kind.SUM, ("table",), "Rows accepted."),
    InternalMetric("ebpf_net.intake.bytes", "By", Kind.SUM, (), "Body bytes read."),
    InternalMetric("ebpf_net.intake.batches", "1", Kind.SUM, (), "Batches accepted."),
    InternalMetric(
        "ebpf_net.intake.duplicates", "1", Kind.SUM, (), "Repeated batches dropped."
    ),
    InternalMetric(
        "ebpf_net.intake.refused", "1", Kind.SUM, ("reason",), "Requests refused."
    ),
    InternalMetric(
        "ebpf_net.intake.skipped",
        "1",
        Kind.SUM,
        ("reason",),
        "Tables of accepted batches that were left out; `unknown_table`: their "
        "collector is newer than this reducer.",
    ),
    InternalMetric(
        "ebpf_net.reducer.late_rows",
        "1",
        Kind.SUM,
        ("reason",),
        "Rows whose window was over: counted into it, or dropped; and those of a "
        "window too far away.",
    ),
    InternalMetric(
        "ebpf_net.reducer.gap_rows",
        "1",
        Kind.SUM,
        ("result",),
        "Rows of windows in which their collector was restarted. covered: the other "
        "end's collector has told what it missed. lost: nobody has.",
    ),
    InternalMetric(
        "ebpf_net.reducer.handover_rows",
        "1",
        Kind.SUM,
        (),
        "Edges of windows in which volume comes from another end than in the window "
        "before, as a collector came, went or was restarted, and something moved as "
        "the windows parted: that may count twice or not at all.",
    ),
    InternalMetric(
        "ebpf_net.reducer.unresolved_rows",
        "1",
        Kind.SUM,
        (),
        "Rows left out of edges that other hosts translate, where neither side of "
        "them is watched wholly.",
    ),
    InternalMetric(
        "ebpf_net.reducer.overflow_bytes",
        "By",
        Kind.SUM,
        ("result",),
        "Bytes on overflow edges of collectors. claimed: counted with the other end's "
        "rows instead. alone: no other end told them. ambiguous: of those, at most so "
        "many are on overflow edges of both ends and count twice.",
    ),
    InternalMetric(
        "ebpf_net.reducer.overflow_connections",
        "1",
        Kind.SUM,
        ("result",),
        "The same for connections opened.",
    ),
    InternalMetric(
        "ebpf_net.reducer.stage_seconds", "s", Kind.SUM, ("stage",), "CPU time spent."
    ),
    InternalMetric("ebpf_net.reducer.windows", "1", Kind.SUM, (), "Windows finished."),
    InternalMetric("ebpf_net.reducer.edges", "1", Kind.GAUGE, (), "Edges remembered."),
    InternalMetric(
        "ebpf_net.connections", "1", Kind.GAUGE, (), "Collectors connected."
    ),
    InternalMetric(
        "ebpf_net.time_since_last_message_ns",
        "ns",
        Kind.GAUGE,
        ("collector", "host"),
        "Since a collector's last batch.",
    ),
    InternalMetric(
        "ebpf_net.clock_offset_ns",
        "ns",
        Kind.GAUGE,
        ("collector", "host"),
        "A collector's clock minus the reducer's.",
    ),
    InternalMetric(
        "ebpf_net.collector.lost",
        "1",
        Kind.SUM,
        ("collector", "host", "reason"),
        "Records, rows or batches that a collector had to drop, by reason.",
    ),
    InternalMetric(
        "ebpf_net.collector.gap_seconds",
        "s",
        Kind.SUM,
        ("collector", "host"),
        "How long a collector was away between its restarts.",
    ),
    InternalMetric(
        "ebpf_net.collector.signal",
        "1",
        Kind.GAUGE,
        ("collector", "host", "signal", "attach"),
        "1: the signal is collected, by this attach type; 0: this kernel lacks it.",
    ),
    InternalMetric(
        "ebpf_net.collector.cloud_metadata",
        "1",
        Kind.SUM,
        ("collector", "host", "result"),
        "Questions of a collector to its cloud's metadata service, by outcome.",
    ),
    InternalMetric(
        "ebpf_net.export.points",
        "1",
        Kind.SUM,
        ("exporter", "result"),
        "Points handed to a receiver.",
    ),
    InternalMetric(
        "ebpf_net.export.requests", "1", Kind.SUM, ("exporter", "result"), "Requests."
    ),
    InternalMetric(
        "ebpf_net.export.windows",
        "1",
        Kind.SUM,
        ("exporter", "result"),
        "Windows that were delivered, given up, or dropped from a full queue.",
    ),
    InternalMetric(
        "ebpf_net.export.queue_windows",
        "1",
        Kind.GAUGE,
        ("exporter",),
        "Windows that wait for their receiver.",
    ),
)


def select_metrics(
    disable: Iterable[str] = (), enable: Iterable[str] = ()
) -> tuple[Metric, ...]:
    """Return the metrics to export.

    Names are those of METRICS, ``<group>.all`` or ``none``; enable wins over disable.
    Raises SettingError for an unknown name.
    """
    disabled, enabled = set(disable), set(enable)
    known = {metric.name for metric in METRICS}
    known |= {f"{metric.group}.all" for metric in METRICS}
    known |= {f"{group}.all" for group in ("dns", "http", "ebpf_net")} | {"none"}
    for name in sorted((disabled | enabled) - known):
        raise SettingError(
            f"'{name}' is no metric", "the names are in docs/reference/metrics.md"
        )
    return tuple(
        metric for metric in METRICS if _is_selected(metric, disabled, enabled)
    )


def in_currency(metrics: Iterable[Metric], currency: str) -> tuple[Metric, ...]:
    """Return the metrics with the unit of money; without those of money if it is ""."""
    return tuple(
        replace(metric, unit=f"{{{currency}}}") if metric.unit == CURRENCY else metric
        for metric in metrics
        if currency or metric.unit != CURRENCY
    )


def _is_selected(metric: Metric, disabled: set[str], enabled: set[str]) -> bool:
    names = {metric.name, f"{metric.group}.all"}
    if names & enabled:
        return True
    return metric.enabled and not names & disabled
