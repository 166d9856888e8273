"""OTLP metrics requests of a window's levels.

Points are encoded by column, see otlp_points.py. Edges are held in groups, small enough
for memory and large enough for a metric's points to lie together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from importlib import metadata

from ebpf_net.exporters.edge_blocks import LevelSeries, cut_blocks
from ebpf_net.exporters.otlp_points import BlockPoints, LevelAttributes
from ebpf_net.exporters.otlp_requests import Request, RequestWriter
from ebpf_net.exporters.protobuf_wire import (
    bytes_field,
    encode_varint,
    string_field,
    varint_field,
)
from ebpf_net.metrics import Kind, Metric

SCOPE_NAME = "ebpf_net"
SERVICE_NAME = "ebpf-net-reducer"
_GROUP_ROWS = 32_768


class Temporality(IntEnum):
    """AggregationTemporality of metrics.proto."""

    DELTA = 1
    CUMULATIVE = 2


@dataclass(frozen=True)
class Part:
    """Metrics to be encoded together: which, of what, and what their time means."""

    levels: Mapping[str, LevelSeries]
    end_ns: int
    metrics: Sequence[Metric]
    temporality: Temporality


def package_version() -> str:
    """Return the version of the installed package, "" in a bare source tree."""
    try:
        return metadata.version("ebpf-net")
    except metadata.PackageNotFoundError:
        return ""


def default_resource() -> dict[str, str]:
    """Return the attributes of the reducer as a resource."""
    version = package_version()
    return {
        "service.name": SERVICE_NAME,
        "service.version": version,
        "telemetry.sdk.name": "ebpf-net",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": version,
    }


def resource_metrics_prefix(resource: Mapping[str, str]) -> bytes:
    """Return the resource field of a ResourceMetrics."""
    attributes = b"".join(
        attribute(1, key, value) for key, value in resource.items() if value
    )
    return bytes_field(1, attributes)


def scope_metrics_prefix() -> bytes:
    """Return the scope field of a ScopeMetrics."""
    version = string_field(2, package_version())
    return bytes_field(1, string_field(1, SCOPE_NAME) + version)


def attribute(number: int, key: str, value: str) -> bytes:
    """Return a KeyValue with a string as field ``number``."""
    any_value = bytes_field(1, value.encode())
    return bytes_field(number, string_field(1, key) + bytes_field(2, any_value))


def metric_head(name: str, description: str, unit: str) -> bytes:
    """Return the fields of a Metric before its data."""
    return string_field(1, name) + string_field(2, description) + string_field(3, unit)


def encode_parts(parts: Sequence[Part], writer: RequestWriter) -> Iterator[Request]:
    """Yield the requests that carry all points of the parts, in order."""
    for part in parts:
        for blocks in _groups(part):
            for metric in part.metrics:
                prefix, suffix = _metric_frame(metric, part.temporality)
                for points in blocks:
                    if metric.is_of(points.block.protocol):
                        yield from writer.add(prefix, suffix, *points.encode(metric))
    yield from writer.finish()


def _groups(part: Part) -> Iterator[list[BlockPoints]]:
    """Yield blocks that are held together."""
    group: list[BlockPoints] = []
    rows = 0
    attributes = {
        name: LevelAttributes(name, series) for name, series in part.levels.items()
    }
    for block in cut_blocks(part.levels):
        if group and rows + len(block.rows) > _GROUP_ROWS:
            yield group
            group, rows = [], 0
        group.append(BlockPoints(block, attributes[block.level_name], part.end_ns))
        rows += len(block.rows)
    if group:
        yield group


def _metric_frame(metric: Metric, temporality: Temporality) -> tuple[bytes, bytes]:
    """Return a Metric's fields before its data, and the data's fields after its points.

    The first ends with the key of the data, whose length follows.
    """
    names = metric_head(metric.name, metric.description, metric.unit)
    combined = varint_field(2, temporality)
    if metric.kind is Kind.GAUGE:
        return names + _length_key(5), b""
    if metric.kind is Kind.SUM:
        return names + _length_key(7), combined + varint_field(3, 1)
    return names + _length_key(10), combined


def _length_key(number: int) -> bytes:
    return encode_varint(number << 3 | 2)
