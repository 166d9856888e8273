"""The metric catalogue: name, unit, kind and meaning of all that is exported.

Exporters, the user interface and docs/reference/metrics.md read it from here.
"""

from ebpf_net.metrics.catalogue import METRICS, TRANSPORT, Kind, Metric
from ebpf_net.metrics.internal import INTERNAL_METRICS, InternalMetric
from ebpf_net.metrics.selection import in_currency, select_metrics

__all__ = [
    "INTERNAL_METRICS",
    "METRICS",
    "TRANSPORT",
    "InternalMetric",
    "Kind",
    "Metric",
    "in_currency",
    "select_metrics",
]
