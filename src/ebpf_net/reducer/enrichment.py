"""Enrichment: who an end is. Works on distinct ends; rows get integers only.

RESOLVE is the one place that decides: container, then process, then what the address
says. What a new source of knowledge adds is another join and another branch there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ebpf_net.reducer.addresses import address_texts
from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.keys import Bool, Int64, combine, is_loopback
from ebpf_net.reducer.matching import Matched
from ebpf_net.reducer.memory import Ends, concat_ends, no_ends
from ebpf_net.reducer.rows import Rows
from ebpf_net.schema import AZ_LABELS, NODE_LABELS

Int32 = NDArray[np.int32]

NODES_SCHEMA = pa.schema(
    [pa.field(label, pa.string(), nullable=False) for label in NODE_LABELS]
)
_DNS_PORT = 53
_METADATA_LOW = 0xFFFF_A9FE_A9FE  # ::ffff:169.254.169.254


class About(IntEnum):
    """What is known of an end."""

    COVERED = 0  # its own collector reports it
    ADDRESS = 1  # only its address
    DNS = 2  # the same, and that it answers at port 53
    METADATA = 3  # the cloud's metadata service of the source's host
    LOCALHOST = 4  # something on the source's host


RESOLVE = """
WITH container AS (
    SELECT source, cgroup_id, service, pod_uid, image_version,
        container_id <> '' OR container_name <> '' AS is_container,
        container_id, container_name,
        CASE WHEN json_valid(labels) THEN labels::JSON END AS label
    FROM cgroups
), labelled AS (
    SELECT * EXCLUDE (label),
        coalesce(label ->> '$."com.amazonaws.ecs.task-definition-family"', '') AS ecs,
        coalesce(label ->> '$."io.kubernetes.container.name"', '') AS k8s,
        coalesce(label ->> '$."io.kubernetes.pod.name"', '') AS pod,
        coalesce(label ->> '$."io.kubernetes.pod.namespace"', '') AS pod_namespace,
        coalesce(label ->> '$."com.hashicorp.nomad.alloc_id"', '') AS nomad_alloc,
        concat_ws('.',
            label ->> '$."com.hashicorp.nomad.job_name"',
            label ->> '$."com.hashicorp.nomad.task_group_name"',
            label ->> '$."com.hashicorp.nomad.task_name"') AS nomad
    FROM container
), known AS (
    SELECT ends.number, ends.about, ends.ip,
        h.host_id, h.zone, h.environment, h.namespace, h.service AS host_service,
        coalesce(p.comm, '') AS comm,
        coalesce(c.is_container, FALSE) AS is_container,
        c.* EXCLUDE (source, cgroup_id, is_container)
    FROM ends
    LEFT JOIN hosts h ON h.source = ends.source
    LEFT JOIN processes p
        ON p.source = ends.source AND p.process_id = ends.process_id
    LEFT JOIN labelled c ON c.source = ends.source AND c.cgroup_id =
        CASE WHEN ends.cgroup_id <> 0 THEN ends.cgroup_id ELSE p.cgroup_id END
), resolved AS (
    SELECT number,
        CASE
            WHEN about = 2 THEN 'DNS'
            WHEN about = 3 THEN 'instance metadata'
            WHEN about <> 0 THEN '(unknown)'
            WHEN comm = 'kubelet' THEN 'kubelet'
            WHEN is_container THEN coalesce(
                nullif(ecs, ''), nullif(k8s, ''), nullif(nomad, ''),
                nullif(container_name, ''), left(container_id, 12))
            ELSE coalesce(
                nullif(service, ''), nullif(comm, ''), nullif(host_service, ''),
                '(unknown)')
        END AS workload,
        CASE
            WHEN about IN (1, 2) THEN ip
            ELSE coalesce(nullif(host_id, ''), '(unknown)')
        END AS id,
        ip,
        CASE WHEN about IN (1, 2) THEN '(unknown)'
            ELSE coalesce(nullif(zone, ''), '(unknown)') END AS zone,
        CASE
            WHEN about IN (1, 2) THEN 'IP'
            WHEN about = 3 THEN 'INSTANCE_METADATA'
            WHEN about = 4 THEN 'LOCALHOST'
            WHEN NOT is_container THEN 'PROCESS'
            WHEN pod_uid <> '' THEN 'K8S_CONTAINER'
            WHEN nomad <> '' OR nomad_alloc <> '' THEN 'NOMAD'
            ELSE 'CONTAINER'
        END AS resolution_type,
        CASE WHEN is_container THEN image_version ELSE '' END AS image_version,
        CASE WHEN about IN (0, 4) THEN coalesce(environment, '')
            ELSE '(no agent)' END AS environment,
        CASE WHEN about = 0
            THEN coalesce(nullif(pod_namespace, ''), namespace, '')
            ELSE '' END AS namespace,
        CASE WHEN about <> 0 THEN ''
            ELSE coalesce(nullif(comm, ''), '(unknown)') END AS process,
        CASE WHEN is_container
            THEN coalesce(nullif(k8s, ''), container_name) ELSE '' END AS container,
        coalesce(pod, '') AS pod
    FROM known
)
"""

_COLUMNS: Mapping[str, str] = {
    "workload.name": "workload",
    "workload.uid": "''",
    "availability_zone": "zone",
    "id": "id",
    "ip": "ip",
    "resolution_type": "resolution_type",
    "image_version": "image_version",
    "environment": "environment",
    "namespace.name": "namespace",
    "process.name": "process",
    "container.name": "container",
    "pod": "pod",
    "service.name": "''",
    "node.name": "''",
    "region": "''",
    "k8s.cluster.name": "''",
    "k8s.cluster.uid": "''",
    "geo.country.iso_code": "''",
}


@dataclass(frozen=True)
class Detail:
    """How finely ends are told apart.

    ``addresses``: by address, host and pod too, for the levels with ``id``. ``ip``:
    show the address as a label.
    """

    addresses: bool
    ip: bool = True


@dataclass(frozen=True)
class Located:
    """Rows with the nodes of both ends: row numbers of ``nodes``."""

    own: Int32
    peer: Int32
    nodes: pa.Table  # NODE_LABELS


def locate(
    engine: Engine,
    rows: Rows,
    matched: Matched,
    references: Mapping[str, pa.Table],
    detail: Detail,
) -> Located:
    """Find out who both ends of each row are."""
    ends, peer = _every_end(rows, matched, detail)
    codes, first = _encode(ends.key)
    number, nodes = _resolve(engine, ends.take(first), references, detail)
    code = number[codes]
    return Located(code[matched.own], code[peer], nodes)


@dataclass(frozen=True)
class _Described:
    """Ends with what is known ``about`` them and their addresses, if they matter."""

    key: Int64  # one for ends that are the same
    ends: Ends
    about: Int64
    high: Int64
    low: Int64

    def take(self, index: Int64) -> _Described:
        return _Described(
            self.key[index],
            self.ends.take(index),
            self.about[index],
            self.high[index],
            self.low[index],
        )


def _every_end(
    rows: Rows, matched: Matched, detail: Detail
) -> tuple[_Described, Int64]:
    """Return the ends in ``matched``, then those that are only an address.

    And the place of each row's peer among them.
    """
    covered, alone = len(matched.ends), np.flatnonzero(matched.peer < 0)
    addresses = _describe_addresses(rows, alone)
    peer = matched.peer.copy()
    peer[alone] = np.arange(covered, covered + len(alone))
    high, low = np.zeros((2, covered), np.int64)
    if detail.addresses:
        known = np.flatnonzero(matched.peer >= 0)
        for side, values in (("high", high), ("low", low)):
            # A remembered end has no row: its address is what its peer's row says.
            remote = rows.int64(f"remote_address_{side}")
            values[matched.peer[known]] = remote[known]
            values[matched.own] = rows.int64(f"local_address_{side}")
    described = _Described(
        np.concatenate([matched.end_keys, addresses.key]),
        concat_ends([matched.ends, addresses.ends]),
        np.concatenate([np.full(covered, int(About.COVERED)), addresses.about]),
        np.concatenate([high, addresses.high]),
        np.concatenate([low, addresses.low]),
    )
    if detail.addresses:
        key = combine(described.key, described.high, described.low)
        described = replace(described, key=key)
    return described, peer


def _describe_addresses(rows: Rows, chosen: Int64) -> _Described:
    """Describe the peers of rows of which only the address is known."""
    high = rows.int64("remote_address_high")[chosen]
    low = rows.int64("remote_address_low")[chosen]
    about = _about_addresses(rows, chosen, high, low)
    local = (about == About.METADATA) | (about == About.LOCALHOST)
    nobody = no_ends(len(chosen))
    source = np.where(local, rows.source[chosen], 0)
    ends = Ends(source, nobody.process, nobody.cgroup)
    return _Described(combine(about, source), ends, about, high, low)


def _about_addresses(rows: Rows, chosen: Int64, high: Int64, low: Int64) -> Int64:
    about = np.full(len(chosen), int(About.ADDRESS))
    dns: Bool = rows.is_client[chosen] & (rows.server_port[chosen] == _DNS_PORT)
    about[dns] = About.DNS
    about[is_loopback(high, low)] = About.LOCALHOST
    about[(high == 0) & (low == _METADATA_LOW)] = About.METADATA
    return about


def _encode(keys: Int64) -> tuple[Int32, Int64]:
    """Return a dense code for each key, and the first row that has each code."""
    encoded = pa.array(keys).dictionary_encode()
    codes: Int32 = encoded.indices.to_numpy(zero_copy_only=False)
    first = np.empty(len(encoded.dictionary), np.int64)
    first[codes[::-1]] = np.arange(len(keys) - 1, -1, -1)
    return codes, first


def _resolve(
    engine: Engine,
    described: _Described,
    references: Mapping[str, pa.Table],
    detail: Detail,
) -> tuple[Int32, pa.Table]:
    """Return the node of each end, and the nodes."""
    count = len(described.about)
    blank = pa.array([""]).take(np.zeros(count, np.int8))
    texts = address_texts(described.high, described.low) if detail.addresses else blank
    ends = pa.table(
        {
            "number": np.arange(count, dtype=np.int32),
            "about": described.about.astype(np.int8),
            "source": described.ends.source,
            "process_id": described.ends.process,
            "cgroup_id": described.ends.cgroup,
            "ip": texts,
        }
    )
    labelled = engine.query(_labels_sql(detail), ends=ends, **references)
    nodes = labelled.select(list(NODE_LABELS)).cast(NODES_SCHEMA)
    number, distinct = distinct_nodes(nodes)
    node = np.empty(count, np.int32)
    node[labelled.column("number").to_numpy()] = number
    return node, distinct


def _labels_sql(detail: Detail) -> str:
    columns = dict(_COLUMNS)
    if not detail.addresses:
        columns |= dict.fromkeys(set(NODE_LABELS) - set(AZ_LABELS), "''")
    elif not detail.ip:
        columns["ip"] = "''"
    chosen = ", ".join(f'{sql} AS "{label}"' for label, sql in columns.items())
    return f"{RESOLVE} SELECT number, {chosen} FROM resolved ORDER BY number"


def distinct_nodes(nodes: pa.Table) -> tuple[Int32, pa.Table]:
    """Return the row of each node among the distinct ones, and the distinct ones."""
    codes = np.zeros(nodes.num_rows, np.int64)
    for label in NODE_LABELS:
        encoded = nodes.column(label).combine_chunks().dictionary_encode()
        codes = combine(codes, encoded.indices.to_numpy().astype(np.int64))
    number, first = _encode(codes)
    return number, nodes.take(first)
