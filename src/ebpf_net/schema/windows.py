"""The window that leaves the reducer, and points about the system itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from ebpf_net.schema.edges import Columns

if TYPE_CHECKING:
    import pyarrow as pa

NODE_LABELS: tuple[str, ...] = (
    "workload.name",
    "workload.uid",
    "availability_zone",
    "id",
    "ip",
    "resolution_type",
    "image_version",
    "environment",
    "namespace.name",
    "process.name",
    "container.name",
    "pod",
    "service.name",
    "node.name",
    "region",
    "k8s.cluster.name",
    "k8s.cluster.uid",
    "geo.country.iso_code",
    "cloud.provider",
    "cloud.account.id",
    "cloud.zone.id",
    "cloud.vpc.id",
    "cloud.subnet.id",
    "cloud.interface.id",
    "cloud.instance.id",
    "cloud.tags",
)
"""Labels of one end; exporters put ``source.`` or ``dest.`` before them."""

_SINGLE_LABELS = frozenset(
    {
        "id", "ip", "pod", "workload.uid", "node.name", "cloud.subnet.id",
        "cloud.interface.id", "cloud.instance.id", "cloud.tags",
    }
)  # fmt: skip
AZ_LABELS: tuple[str, ...] = tuple(
    label for label in NODE_LABELS if label not in _SINGLE_LABELS
)
"""Labels of an end at the ``az`` side of a level; the others are empty there."""

LEVELS: tuple[str, ...] = ("id_id", "az_id", "id_az", "az_az")

LEVEL_EDGES: Columns = (
    ("source", "int32"),  # row number in nodes
    ("dest", "int32"),
    ("bytes", "int64"),  # source to dest
    ("packets", "int64"),
    ("retransmits", "int64"),  # sent again by source
    ("resets", "int64"),  # sent by source
    ("syn_timeouts", "int64"),  # SYN or SYN-ACK sent again by source
    ("opened", "int64"),  # sockets opened at source towards dest
    ("closed", "int64"),
    ("open", "int64"),
    ("connect_failures", "int64"),  # source tried to reach dest
    ("drops", "int64"),  # of datagrams from source, at dest
    ("rtt_count", "int64"),  # measured at source
    ("rtt_sum_us", "int64"),
    ("rtt_min_us", "int64"),  # 0: no sample
    ("rtt_max_us", "int64"),
    ("connect_count", "int64"),  # source is the client
    ("connect_sum_us", "int64"),
    ("protocol", "int8"),
)
"""One row for each (source, dest, protocol) of a window; both directions have a row."""

LEVEL_SAMPLES: Columns = (
    ("edge", "int32"),  # row number in the level's edges; sorted by edge, kind, bucket
    ("count", "int64"),
    ("bucket", "int16"),
    ("kind", "int8"),
)


class Derived(IntEnum):
    """Kinds of LEVEL_SAMPLES that the reducer makes; ``bucket`` is a ZoneRelation."""

    ZONE_BYTES = 64
    ZONE_COST = 65  # COST_PARTS are one unit of the currency


class ZoneRelation(IntEnum):
    """Where the ends are; the names are values of the attribute ``zone.relation``."""

    SAME_ZONE = 1
    CROSS_ZONE = 2
    CROSS_REGION = 3  # or from cloud to cloud
    INTERNET = 4  # one end has a public address of which nobody has told
    UNKNOWN = 5


COST_PARTS = 10**12


@dataclass(frozen=True)
class Level:
    """One aggregation level of one window.

    ``nodes`` has a string column for each of NODE_LABELS (empty where unknown) and one
    row for each distinct end; ``edges`` is LEVEL_EDGES; ``samples`` is LEVEL_SAMPLES.
    """

    nodes: pa.Table
    edges: pa.Table
    samples: pa.Table


@dataclass(frozen=True)
class Window:
    """What the reducer makes of one window: values in [start_ns, end_ns), Unix time.

    ``levels`` has the enabled ones of LEVELS. A window may be followed by another of
    the same time with what came late; their values add up.
    """

    start_ns: int
    end_ns: int
    levels: Mapping[str, Level]


@dataclass(frozen=True)
class InternalPoint:
    """One value of an ``ebpf_net.*`` metric; counters are cumulative."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()
