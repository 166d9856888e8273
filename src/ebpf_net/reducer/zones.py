"""Where the ends of traffic are: in which zone and region, or on the internet."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.reducer.addresses import is_public
from ebpf_net.reducer.ends import Int32
from ebpf_net.reducer.keys import Bool, Int64
from ebpf_net.reducer.resolve import Kind
from ebpf_net.reducer.rows import Rows
from ebpf_net.schema import ZoneRelation
from ebpf_net.zones import Codes, Zones, distinct_texts, text_codes

# What has been named by its address alone is where nobody knows: the zone of such an
# end is its autonomous system's organisation.
_NAMELESS, USER_NETWORK = Kind.IP.name, Kind.NETWORK.name
_UNKNOWN_ZONE = "(unknown)"

_REGIONS_OF_ZONES = tuple(
    re.compile(pattern)
    for pattern in (
        r"((?:af|ap|ca|cn|eu|il|me|mx|sa|us)(?:-[a-z]+)+-\d)(?:-[a-z]+-\d)?[a-z]",
        (
            r"((?:africa|asia|australia|europe|me|northamerica|southamerica|us)"
            r"-[a-z]+\d+)-[a-z]"
        ),
        r"((?=[a-z]*(?:north|south|east|west|central))[a-z]{6,}\d?)-\d",
    )
)
"""Zones as AWS, Google Cloud and Azure's Kubernetes name them."""


class EndPlaces:
    """Where the ends in a table of nodes are."""

    def __init__(self, nodes: pa.Table) -> None:
        self._zones = Zones(nodes)
        zone, names = distinct_texts(nodes.column("availability_zone"))
        unknown = _equal(names, _UNKNOWN_ZONE, "")[zone]
        self._provider = text_codes(nodes.column("cloud.provider"))
        kind, kinds = distinct_texts(nodes.column("resolution_type"))
        in_cloud = self._provider >= 0
        nameless = _equal(kinds, _NAMELESS)[kind] & ~in_cloud
        elsewhere = nameless | (_equal(kinds, USER_NETWORK)[kind] & ~in_cloud)
        self._nameless = nameless
        self._is_told = ~unknown & ~elsewhere
        self.regions = _regions(nodes, zone, names, self._is_told)
        self._region = text_codes(self.regions)

    @property
    def knows_zones(self) -> bool:
        """Whether any end's zone is known."""
        return bool(self._is_told.any())

    def internet(self, rows: Rows, peer: Int32) -> Bool:
        """Tell which rows have a public address at their peer that is nobody's."""
        result: Bool = self._nameless[peer]
        chosen = np.flatnonzero(result)
        if len(chosen):
            high = rows.int64("remote_address_high")[chosen]
            low = rows.int64("remote_address_low")[chosen]
            result[chosen] = is_public(high, low)
        return result

    def relate(self, one: Int64, other: Int64, internet: Bool) -> Int64:
        """Return the ZoneRelation of pairs of ends; it is that of the way back too."""
        told = self._is_told[one] & self._is_told[other]
        compared = self._zones.compare(one.astype(np.int32), other.astype(np.int32))
        same = told & (compared == 2)
        apart = _differ(self._region, one, other) | _differ(self._provider, one, other)
        return np.select(
            [internet, same, apart, told],
            [
                np.int64(ZoneRelation.INTERNET),
                np.int64(ZoneRelation.SAME_ZONE),
                np.int64(ZoneRelation.CROSS_REGION),
                np.int64(ZoneRelation.CROSS_ZONE),
            ],
            np.int64(ZoneRelation.UNKNOWN),
        )


@lru_cache(4096)
def region_of_zone(zone: str) -> str:
    """Return the region that a zone's name tells, or ""."""
    for pattern in _REGIONS_OF_ZONES:
        match = pattern.fullmatch(zone)
        if match:
            return match[1]
    return ""


def _regions(nodes: pa.Table, zone: Codes, names: Any, is_told: Bool) -> Any:
    """Return the region of each node, by its zone's name if nothing else tells it."""
    told: Any = nodes.column("region").combine_chunks()
    by_zone: Any = pa.array(list(map(region_of_zone, names.to_pylist())), pa.string())
    missing: Any = pc.equal(told, pa.scalar(""))
    taken = pc.and_(missing, pa.array(is_told))
    return pc.if_else(taken, by_zone.take(pa.array(zone)), told)


def _equal(texts: Any, *wanted: str) -> Bool:
    """Tell which texts are one of these."""
    values = texts.to_pylist()
    return np.array([value in wanted for value in values], np.bool_)


def _differ(codes: Codes, one: Int64, other: Int64) -> Bool:
    first, second = codes[one], codes[other]
    result: Bool = (first >= 0) & (second >= 0) & (first != second)
    return result
