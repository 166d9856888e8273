"""Points of the ``ebpf_net.*`` metrics together with their catalogue entries."""

from __future__ import annotations

from collections.abc import Iterable

from ebpf_net.metrics import INTERNAL_METRICS, InternalMetric, Kind
from ebpf_net.schema import InternalPoint

_CATALOGUE = {metric.name: metric for metric in INTERNAL_METRICS}


def internal_metric(name: str) -> InternalMetric:
    """Return a metric of the catalogue; a gauge without unit if it is not there."""
    return _CATALOGUE.get(name) or InternalMetric(name, "1", Kind.GAUGE, (), "")


def group_points(
    points: Iterable[InternalPoint],
) -> dict[InternalMetric, list[InternalPoint]]:
    """Return the points of each metric, in the order of their first point."""
    groups: dict[InternalMetric, list[InternalPoint]] = {}
    for point in points:
        groups.setdefault(internal_metric(point.name), []).append(point)
    return groups
