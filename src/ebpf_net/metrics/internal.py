"""The metrics of the system itself."""

from __future__ import annotations

from dataclasses import dataclass

from ebpf_net.metrics.catalogue import Kind


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
        "1: the signal is collected, by this attach type; 0: it is not, as the "
        "kernel lacks it or a right is missing.",
    ),
    InternalMetric(
        "ebpf_net.collector.cloud",
        "1",
        Kind.GAUGE,
        ("collector", "host", "count"),
        "What a cloud collector counts: API calls of the last hour (calls_last_hour), "
        "those that were throttled, parts that cannot be asked now (failing) or not "
        "wholly (incomplete), rows and so on.",
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
