"""Flags of the reference that tuned what is no longer there."""

from __future__ import annotations

from collections.abc import Mapping

OBSOLETE: Mapping[str, str] = {
    "--num-ingest-shards": "--threads",
    "--num-matching-shards": "--threads",
    "--num-aggregation-shards": "--threads",
    "--partitions-per-shard": "--threads",
    "--shard-prometheus-metrics": "nothing: one endpoint serves any number of scrapers",
    "--scrape-size-limit-bytes": "nothing: a scrape is always whole",
    "--stats-scrape-size-limit-bytes": "nothing: a scrape is always whole",
    "--metrics-tsdb-format": "--output json for JSON lines",
    "--index-dump-interval": "--internal-prom",
    "--otlp-grpc-batch-size": "nothing: requests are split below 4 MB",
    "--enable-otlp-grpc-metric-descriptions": "nothing: descriptions are always sent",
    "--filter-ns": "nothing: no event is sent per packet",
    "--socket-stats-interval-sec": "--interval-seconds",
    "--intake-encoder": "nothing: the intake speaks Arrow over HTTP",
    "--enable-userland-tcp": "nothing: TCP is counted by the kernel",
    "--override-kernel-blacklist": "preflight, which asks the kernel for each feature",
    "--bpf-dump-file": "--log-level debug",
    "--disable-http-metrics": "nothing yet: HTTP is not collected",
    "--enable-percentile-latencies": "the histograms tcp.rtt and tcp.connect.duration",
    "--enable-flow-logs": "--output json",
    "--force-docker-metadata": "nothing: every container runtime is asked",
    "--disable-nomad-metadata": "--disable-container-metadata",
    "--docker-ns-label": "nothing yet",
    "--docker-metadata-dump-dir": "--log-level debug",
    "--disable-log-rate-limit": "nothing: repeated messages are counted",
    "--no-stdout": "--log-console, off by default",
    "--no-stderr": "--log-console, off by default",
    "--bpf": "nothing: the programs are in the package",
    "--schedule-bpf-lost-samples": "nothing: a loss restarts nothing",
    "--enable-aws-enrichment": "nothing: what cloud-collector tells is always used",
    "--log-whitelist-all": "--log-level debug",
    "--server-address": "nothing: k8s-collector watches and sends in one process",
    "--local-test": "--log-console",
    "--heartbeat-interval-sec": "nothing: each window is a sign of life",
}
"""Flags of the reference that tuned what is no longer there, and what replaces them."""
OBSOLETE_SWITCHES = frozenset(
    flag
    for flag in OBSOLETE
    if flag.startswith(("--enable-", "--disable-", "--no-", "--override-", "--force-"))
    or flag in ("--shard-prometheus-metrics", "--log-whitelist-all", "--local-test")
)
"""Those that take no value."""
