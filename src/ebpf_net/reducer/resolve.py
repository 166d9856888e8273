"""The order of resolution: which of the things that are known of an end names it.

Lookups have found rows of tables for each end. What is decided between them is decided
here only; the page "How a name is found" tells the same in words. It is no SQL, because
to plan so many columns costs more than to fill them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.reducer.addresses import address_texts
from ebpf_net.reducer.keys import Bool, Int64
from ebpf_net.reducer.lookups import pick
from ebpf_net.schema import NODE_LABELS

_Texts = pa.StringArray

NODES_SCHEMA = pa.schema(
    [pa.field(label, pa.string(), nullable=False) for label in NODE_LABELS]
)


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
    "network": Read("networks", "network_", ("name",)),
    "system": Read("systems", "system_", ("organisation", "country")),
}  # fmt: skip
"""By the column of row numbers: what is read of such a row. ``asked`` is the Service
that a client asked for when its connection was translated to this end; ``at_node`` is
the node whose address it is, and ``node`` the one that the end is on."""

_ORIGINS: Mapping[str, tuple[str, str]] = {
    f"{read.prefix}{column}": (name, column)
    for name, read in READS.items()
    for column in (*read.columns, *read.with_addresses)
}  # of the texts that ends have: the column of row numbers, and the table's column


class Kind(IntEnum):
    """How an end got its name: the label ``resolution_type``."""

    IP = 0
    LOCALHOST = 1
    INSTANCE_METADATA = 2
    NETWORK = 3
    K8S_NODE = 4
    K8S_SERVICE = 5
    K8S_POD = 6  # by its address
    PROCESS = 7
    CONTAINER = 8
    NOMAD = 9
    K8S_CONTAINER = 10  # by its cgroup


_KIND_NAMES = pa.array([kind.name for kind in Kind])


def resolve(
    found: Mapping[str, Int64], tables: Mapping[str, pa.Table], detail: Detail
) -> pa.Table:
    """Return the labels of ends, in their order.

    ``found`` has ``about``, addresses and a column of row numbers for each of READS.
    """
    ends = _Ends(found, tables)
    kind = _kinds(ends)
    labels = {
        "workload.name": _workloads(ends, kind),
        "availability_zone": _zones(ends),
        "resolution_type": _KIND_NAMES.take(kind),
        "image_version": _image_versions(ends),
        "environment": ends.choose(
            (ends.is_about(About.COVERED, About.LOCALHOST), ends["host_environment"]),
            otherwise="(no agent)",
        ),
        "namespace.name": _namespaces(ends, kind),
        "process.name": ends.choose(
            (ends.covered, ends.first("comm", otherwise="(unknown)"))
        ),
        "container.name": ends.choose(
            (
                ends.covered,
                ends.first("inner_name", "label_container", "container_name"),
            )
        ),
        "service.name": ends.choose(
            (ends.has("asked"), ends["asked_name"]),
            (kind == Kind.K8S_SERVICE, ends["service_name"]),
        ),
        "region": ends["node_region"],
        "k8s.cluster.name": ends["cluster_name"],
        "k8s.cluster.uid": ends["cluster_cluster_uid"],
        "geo.country.iso_code": ends["system_country"],
    }
    if detail.addresses:
        labels |= _single(ends, kind, detail)
    blank = ends.all("")
    columns = [labels.get(name, blank) for name in NODE_LABELS]
    return pa.Table.from_arrays(columns, schema=NODES_SCHEMA)


def _kinds(ends: _Ends) -> Int64:
    """Decide what names each end; the first that is true."""
    container = ends.covered & ends.flag("is_container")
    in_pod, in_nomad = ends.is_told("pod_uid"), ends.is_told("nomad", "nomad_alloc")
    order: tuple[tuple[Bool, Kind], ...] = (
        (ends.is_about(About.LOCALHOST), Kind.LOCALHOST),
        (ends.covered & ends.has("pod"), Kind.K8S_CONTAINER),
        (container & in_pod, Kind.K8S_CONTAINER),
        (container & in_nomad, Kind.NOMAD),
        (container, Kind.CONTAINER),
        (ends.covered, Kind.PROCESS),
        (ends.has("pod"), Kind.K8S_POD),
        (ends.has("service"), Kind.K8S_SERVICE),
        (ends.has("at_node"), Kind.K8S_NODE),
        (ends.has("network"), Kind.NETWORK),
        (ends.is_about(About.METADATA), Kind.INSTANCE_METADATA),
    )
    masks = [mask for mask, _ in order]
    return np.select(masks, [np.int64(kind) for _, kind in order], np.int64(Kind.IP))


def _workloads(ends: _Ends, kind: Int64) -> _Texts:
    return ends.choose(
        (ends.covered & ends.equal("comm", "kubelet"), "kubelet"),
        (ends.has("pod"), ends["pod_workload_name"]),
        (kind == Kind.K8S_SERVICE, ends["service_name"]),
        (kind == Kind.K8S_NODE, ends["at_name"]),
        (
            kind == Kind.PROCESS,
            ends.first("unit", "comm", "host_service", otherwise="(unknown)"),
        ),
        (
            ends.covered,
            ends.first("ecs", "label_container", "nomad", "container_name", "short_id"),
        ),
        (kind == Kind.NETWORK, ends["network_name"]),
        (ends.is_about(About.DNS), "DNS"),
        (ends.is_about(About.METADATA), "instance metadata"),
        (_is_internet(ends, kind), "(internet)"),
        otherwise="(unknown)",
    )


def _is_internet(ends: _Ends, kind: Int64) -> Bool:
    """Tell which ends are known by their autonomous system alone."""
    internet: Bool = (kind == Kind.IP) & ends.is_told("system_organisation")
    return internet


def _zones(ends: _Ends) -> _Texts:
    return ends.choose(
        (ends.on_host, ends.first("host_zone", "node_zone", otherwise="(unknown)")),
        otherwise=ends.first("node_zone", "system_organisation", otherwise="(unknown)"),
    )


def _image_versions(ends: _Ends) -> _Texts:
    return ends.choose(
        (ends.has("pod"), ends.first("inner_image_version", "pod_image_version")),
        (ends.covered & ends.flag("is_container"), ends["image_version"]),
    )


def _namespaces(ends: _Ends, kind: Int64) -> _Texts:
    return ends.choose(
        (ends.has("pod"), ends["pod_namespace"]),
        (kind == Kind.K8S_SERVICE, ends["service_namespace"]),
        (ends.covered, ends.first("label_namespace", "host_namespace")),
    )


def _single(ends: _Ends, kind: Int64, detail: Detail) -> dict[str, _Texts]:
    """Return the labels that tell single ends apart."""
    address = ends.addresses()
    hidden = _is_internet(ends, kind) & np.bool_(not detail.system_ip)
    shown = ends.choose((hidden, "AS"), otherwise=address)
    on_node = ends.choose(
        (ends.is_told("node_name"), ends["node_name"]), otherwise=shown
    )
    return {
        "workload.uid": ends.choose(
            (kind == Kind.K8S_SERVICE, ends["service_service_uid"]),
            (kind == Kind.K8S_NODE, ends["at_node_uid"]),
            otherwise=ends["pod_workload_uid"],
        ),
        "id": ends.choose(
            (ends.on_host, ends.first("host_host_id", otherwise="(unknown)")),
            otherwise=on_node,
        ),
        "ip": shown if detail.ip else ends.all(""),
        "pod": ends.choose(
            (ends.has("pod"), ends["pod_name"]), (ends.covered, ends["label_pod"])
        ),
        "node.name": ends["node_name"],
    }


class _Ends:
    """Texts of ends: columns of the rows that were found, "" where there is none."""

    def __init__(
        self, found: Mapping[str, Int64], tables: Mapping[str, pa.Table]
    ) -> None:
        self._found, self._tables = found, tables
        self._count = len(found["about"])
        self._kept: dict[str, _Texts] = {}
        self.covered: Bool = found["about"] == About.COVERED
        self.on_host = self.is_about(About.COVERED, About.METADATA, About.LOCALHOST)

    def __getitem__(self, name: str) -> _Texts:
        if name not in self._kept:
            self._kept[name] = self._take(name)
        return self._kept[name]

    def has(self, name: str) -> Bool:
        """Tell which ends have a row of this kind."""
        known: Bool = self._found[name] >= 0
        return known

    def is_about(self, *what: About) -> Bool:
        """Tell of which ends this is known."""
        known: Bool = np.isin(self._found["about"], what)
        return known

    def flag(self, name: str) -> Bool:
        """Return a column of truth values, false where there is no row."""
        row, column = self._column(name)
        values = column.to_numpy().astype(np.int64)
        true: Bool = pick(values, self._found[row], 0) == 1
        return true

    def is_told(self, *names: str) -> Bool:
        """Tell which ends have a text in one of these columns."""
        told = np.zeros(self._count, np.bool_)
        for name in names:
            told |= _lengths(self[name]) > 0
        return told

    def equal(self, name: str, text: str) -> Bool:
        """Tell which ends have just this text."""
        equal: Any = pc.equal(self[name], _text(text))
        same: Bool = equal.to_numpy(zero_copy_only=False)
        return same

    def first(self, *names: str, otherwise: str = "") -> _Texts:
        """Return the first of these columns that is not empty."""
        choices = [(_lengths(self[name]) > 0, self[name]) for name in names]
        return self.choose(*choices, otherwise=otherwise)

    def choose(
        self, *choices: tuple[Bool, _Texts | str], otherwise: _Texts | str = ""
    ) -> _Texts:
        """Return for each end the text of the first choice that is true."""
        last = self.all(otherwise) if isinstance(otherwise, str) else otherwise
        useful = [(mask, value) for mask, value in choices if mask.any()]
        if not useful:
            return last
        masks = pa.StructArray.from_arrays(
            [pa.array(mask) for mask, _ in useful],
            [str(place) for place in range(len(useful))],
        )
        values = [value for _, value in useful]
        chosen: _Texts = pc.case_when(masks, *values, last)
        return chosen

    def all(self, text: str) -> _Texts:
        """Return the same text for all ends."""
        if text not in self._kept:
            self._kept[text] = pa.repeat(_text(text), self._count)
        return self._kept[text]

    def addresses(self) -> _Texts:
        """Return the addresses as text."""
        return address_texts(self._found["high"], self._found["low"])

    def _column(self, name: str) -> tuple[str, Any]:
        row, column = _ORIGINS[name]
        return row, self._tables[READS[row].table].column(column)

    def _take(self, name: str) -> _Texts:
        row, column = self._column(name)
        rows = self._found[row]
        missing = rows < 0
        if missing.all():
            return self.all("")
        if len(column.chunks) != 1:
            column = pa.chunked_array([column.combine_chunks()])
        taken: Any = column.chunk(0).take(pa.array(np.maximum(rows, 0)))
        if missing.any():
            taken = pc.if_else(pa.array(missing), _text(""), taken)
        texts: _Texts = taken
        return texts


@cache
def _text(text: str) -> pa.StringScalar:
    """Return one of the constants of this module; to make one takes a while."""
    return pa.scalar(text)


def _lengths(texts: _Texts) -> Int64:
    return pc.binary_length(texts).to_numpy().astype(np.int64)
