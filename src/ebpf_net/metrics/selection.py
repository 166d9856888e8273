"""Which metrics are exported, and in which currency."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ebpf_net.errors import SettingError
from ebpf_net.metrics.catalogue import CURRENCY, METRICS, Metric


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
