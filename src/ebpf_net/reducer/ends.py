"""What is known of ends: columns of numbers, and what is read of the rows they name.

A thing that can be known of an end is an entry of READS: its column has row numbers of
a table. The places that an end is in are among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ebpf_net.reducer.claims import Span
from ebpf_net.reducer.keys import Int64
from ebpf_net.reducer.known import Known, Names
from ebpf_net.reducer.lookups import nobody

Int32 = NDArray[np.int32]
Found = dict[str, Int64]
"""Columns of ends: what is known about them, addresses, row numbers of READS."""


class About(IntEnum):
    """What is known of an end."""

    COVERED = 0  # its own collector reports it
    ADDRESS = 1  # only its address
    DNS = 2  # the same, and that it answers at port 53
    METADATA = 3  # the cloud's metadata service of the source's host
    LOCALHOST = 4  # something on the source's host


@dataclass(frozen=True)
class Detail:
    """How finely ends are told apart.

    ``addresses``: by address, host and pod too, for the levels with ``id``. ``ip``:
    show the address as a label. ``system_ip``: also those of autonomous systems.
    """

    addresses: bool
    ip: bool = True
    system_ip: bool = False


@dataclass(frozen=True)
class Read:
    """Columns of a table that names are made of; the last ones only with addresses."""

    table: str
    prefix: str
    columns: tuple[str, ...]
    with_addresses: tuple[str, ...] = ()

    def chosen(self, detail: Detail) -> tuple[str, ...]:
        """Return the columns that this detail needs."""
        return self.columns + (self.with_addresses if detail.addresses else ())


READS: Mapping[str, Read] = {
    "host": Read(
        "hosts", "host_", ("zone", "environment", "namespace", "service"), ("host_id",)
    ),
    "process": Read("processes", "", ("comm",)),
    "cgroup": Read(
        "cgroups",
        "",
        (
            "unit", "is_container", "pod_uid", "short_id", "container_name",
            "image_version", "ecs", "label_container", "label_namespace",
            "nomad_alloc", "nomad",
        ),
        ("label_pod",),
    ),
    "pod": Read(
        "pods",
        "pod_",
        ("workload_name", "namespace", "image_version"),
        ("name", "workload_uid"),
    ),
    "container": Read("containers", "inner_", ("name", "image_version")),
    "service": Read("services", "service_", ("name", "namespace"), ("service_uid",)),
    "asked": Read("services", "asked_", ("name",)),
    "node": Read("nodes", "node_", ("zone", "region"), ("name",)),
    "at_node": Read("nodes", "at_", ("name",), ("node_uid",)),
    "cluster": Read("clusters", "cluster_", ("name", "cluster_uid")),
    "instance": Read(
        "cloud_instances",
        "instance_",
        ("provider", "account", "region", "zone", "zone_id"),
        ("instance_id",),
    ),
    "interface": Read(
        "cloud_interfaces",
        "interface_",
        ("provider", "account", "region", "zone", "zone_id", "role", "name", "kind"),
        ("subnet", "interface_id", "instance_id", "tags"),
    ),
    "own_address": Read(
        "cloud_instance_addresses", "own_", (), ("subnet", "interface_id")
    ),
    "vpc": Read("cloud_networks", "vpc_", ("name",)),
    "network": Read("networks", "network_", ("name",)),
    "system": Read("systems", "system_", ("organisation", "country")),
}  # fmt: skip
"""By the column of row numbers: what is read of such a row. ``asked`` is the Service
that a client asked for when its connection was translated to this end; ``at_node`` is
the node whose address it is, and ``node`` the one that the end is on. ``interface`` is
the cloud's that has its address, ``own_address`` what its host says of that."""

ORIGINS: Mapping[str, tuple[str, str]] = {
    f"{read.prefix}{column}": (name, column)
    for name, read in READS.items()
    for column in (*read.columns, *read.with_addresses)
}  # of the texts that ends have: the column of row numbers, and the table's column

PLACE_COLUMNS: tuple[str, ...] = ("cluster", "vpc")
"""The columns with the places that ends are in, as kinds of Place without ANYWHERE."""


@dataclass(frozen=True)
class Circle:
    """What the enrichment of some rows works with."""

    names: Names
    known: Known
    detail: Detail
    span: Span


def places_of(found: Found, index: Int32 | Int64) -> tuple[Int64, ...]:
    """Return the places that the chosen ends are in."""
    return tuple(found[name][index] for name in PLACE_COLUMNS)


def nothing_found(count: int, about: About) -> Found:
    """Return columns of ends of which nothing is known yet."""
    found = {name: nobody(count) for name in READS}
    high, low = np.zeros((2, count), np.int64)
    return {"about": np.full(count, int(about)), "high": high, "low": low, **found}


def encode(keys: Int64) -> tuple[Int32, Int64]:
    """Return a dense code for each key, and the first row that has each code."""
    encoded = pa.array(keys).dictionary_encode()
    codes: Int32 = encoded.indices.to_numpy(zero_copy_only=False)
    first = np.empty(len(encoded.dictionary), np.int64)
    first[codes[::-1]] = np.arange(len(keys) - 1, -1, -1)
    return codes, first
