"""The order of resolution: which of the things that are known of an end names it.

Lookups have found rows of tables for each end. RESOLVE is the one place that decides
between them; the page "How a name is found" tells the same in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.addresses import address_texts
from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.keys import Int64
from ebpf_net.schema import AZ_LABELS, NODE_LABELS

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
            "unit", "is_container", "pod_uid", "container_id", "container_name",
            "image_version", "ecs", "kubernetes_container", "kubernetes_namespace",
            "nomad_alloc", "nomad",
        ),
        ("kubernetes_pod",),
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

RESOLVE = """
WITH resolved AS (
    SELECT *,
        CASE
            WHEN about = 4 THEN 'LOCALHOST'
            WHEN about = 0 AND pod IS NOT NULL THEN 'K8S_CONTAINER'
            WHEN about = 0 AND NOT coalesce(is_container, FALSE) THEN 'PROCESS'
            WHEN about = 0 AND pod_uid <> '' THEN 'K8S_CONTAINER'
            WHEN about = 0 AND nomad || nomad_alloc <> '' THEN 'NOMAD'
            WHEN about = 0 THEN 'CONTAINER'
            WHEN pod IS NOT NULL THEN 'K8S_POD'
            WHEN service IS NOT NULL THEN 'K8S_SERVICE'
            WHEN at_node IS NOT NULL THEN 'K8S_NODE'
            WHEN network IS NOT NULL THEN 'NETWORK'
            WHEN about = 3 THEN 'INSTANCE_METADATA'
            ELSE 'IP'
        END AS found
    FROM ends
), named AS (
    SELECT *,
        found = 'IP' AND system_organisation <> '' AS is_internet,
        about IN (0, 3, 4) AS on_host
    FROM resolved
), labels AS (
    SELECT
        CASE
            WHEN about = 0 AND comm = 'kubelet' THEN 'kubelet'
            WHEN pod IS NOT NULL THEN pod_workload_name
            WHEN found = 'K8S_SERVICE' THEN service_name
            WHEN found = 'K8S_NODE' THEN at_name
            WHEN found = 'PROCESS' THEN coalesce(
                nullif(unit, ''), nullif(comm, ''), nullif(host_service, ''),
                '(unknown)')
            WHEN about = 0 THEN coalesce(
                nullif(ecs, ''), nullif(kubernetes_container, ''), nullif(nomad, ''),
                nullif(container_name, ''), left(container_id, 12))
            WHEN found = 'NETWORK' THEN network_name
            WHEN about = 2 THEN 'DNS'
            WHEN about = 3 THEN 'instance metadata'
            WHEN is_internet THEN '(internet)'
            ELSE '(unknown)'
        END AS workload,
        CASE found
            WHEN 'K8S_SERVICE' THEN service_service_uid
            WHEN 'K8S_NODE' THEN at_node_uid
            ELSE pod_workload_uid
        END AS workload_uid,
        CASE WHEN on_host
            THEN coalesce(nullif(host_zone, ''), nullif(node_zone, ''), '(unknown)')
            ELSE coalesce(
                nullif(node_zone, ''), nullif(system_organisation, ''), '(unknown)')
        END AS zone,
        CASE
            WHEN on_host THEN coalesce(nullif(host_host_id, ''), '(unknown)')
            WHEN is_internet AND NOT system_ip THEN 'AS'
            ELSE coalesce(nullif(node_name, ''), ip)
        END AS id,
        CASE WHEN is_internet AND NOT system_ip THEN 'AS' ELSE ip END AS ip,
        found AS resolution_type,
        CASE
            WHEN pod IS NOT NULL THEN
                coalesce(nullif(inner_image_version, ''), pod_image_version)
            WHEN about = 0 AND is_container THEN image_version
        END AS image_version,
        CASE WHEN about IN (0, 4) THEN host_environment ELSE '(no agent)'
        END AS environment,
        CASE
            WHEN pod IS NOT NULL THEN pod_namespace
            WHEN found = 'K8S_SERVICE' THEN service_namespace
            WHEN about = 0 THEN
                coalesce(nullif(kubernetes_namespace, ''), host_namespace)
        END AS namespace,
        CASE WHEN about = 0 THEN coalesce(nullif(comm, ''), '(unknown)')
        END AS process,
        CASE WHEN about = 0 THEN coalesce(
            inner_name, nullif(kubernetes_container, ''), nullif(container_name, ''))
        END AS container,
        CASE WHEN pod IS NOT NULL THEN pod_name
            WHEN about = 0 THEN kubernetes_pod
        END AS pod_label,
        coalesce(asked_name, CASE WHEN found = 'K8S_SERVICE' THEN service_name END)
            AS service_label,
        node_name AS node_label,
        node_region AS region,
        cluster_name,
        cluster_cluster_uid AS cluster_uid,
        system_country AS country
    FROM named
)
"""

_COLUMNS: Mapping[str, str] = {
    "workload.name": "workload",
    "workload.uid": "workload_uid",
    "availability_zone": "zone",
    "id": "id",
    "ip": "ip",
    "resolution_type": "resolution_type",
    "image_version": "image_version",
    "environment": "environment",
    "namespace.name": "namespace",
    "process.name": "process",
    "container.name": "container",
    "pod": "pod_label",
    "service.name": "service_label",
    "node.name": "node_label",
    "region": "region",
    "k8s.cluster.name": "cluster_name",
    "k8s.cluster.uid": "cluster_uid",
    "geo.country.iso_code": "country",
}


def resolve(
    engine: Engine,
    found: Mapping[str, Int64],
    tables: Mapping[str, pa.Table],
    detail: Detail,
) -> pa.Table:
    """Return the labels of ends, in their order.

    ``found`` has ``about``, addresses and a column of row numbers for each of READS.
    """
    columns: dict[str, Any] = {"about": pa.array(found["about"].astype(np.int8))}
    columns["system_ip"] = _same(pa.array([detail.system_ip]), len(found["about"]))
    columns["ip"] = (
        address_texts(found["high"], found["low"])
        if detail.addresses
        else _same(pa.array([""]), len(found["about"]))
    )
    for name, read in READS.items():
        rows = found[name]
        chosen: Any = pa.array(rows, mask=rows < 0)
        columns[name] = chosen
        for column in read.columns + read.with_addresses:
            columns[read.prefix + column] = tables[read.table][column].take(chosen)
    ends = pa.table(columns)
    labels = engine.query(_labels_sql(detail), ends=ends)
    return labels.cast(NODES_SCHEMA)


def _same(value: pa.Array[Any], count: int) -> pa.Array[Any]:
    return value.take(np.zeros(count, np.int8))


def _labels_sql(detail: Detail) -> str:
    columns = dict(_COLUMNS)
    if not detail.addresses:
        columns |= dict.fromkeys(set(NODE_LABELS) - set(AZ_LABELS), "''")
    elif not detail.ip:
        columns["ip"] = "''"
    chosen = ", ".join(
        f"""coalesce({sql}, '') AS "{label}\"""" for label, sql in columns.items()
    )
    return f"{RESOLVE} SELECT {chosen} FROM labels"
