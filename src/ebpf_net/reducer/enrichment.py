"""Enrichment: who both ends of each row are. Rows get integers only.

Distinct ends are looked up, ends that would read the same become one, and only those
get labels: see resolve.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ebpf_net.reducer.claims import Span
from ebpf_net.reducer.keys import Bool, Int64, combine, is_loopback
from ebpf_net.reducer.known import Known, Names
from ebpf_net.reducer.kubernetes_names import Asked
from ebpf_net.reducer.lookups import NOBODY, nobody, pick
from ebpf_net.reducer.matching import Matched
from ebpf_net.reducer.resolve import (
    NODES_SCHEMA,
    READS,
    About,
    Detail,
    resolve,
)
from ebpf_net.reducer.rows import Rows
from ebpf_net.schema import NODE_LABELS

__all__ = ["NODES_SCHEMA", "Detail", "Int32", "Located", "distinct_nodes", "locate"]

Int32 = NDArray[np.int32]
Found = dict[str, Int64]
"""Columns of ends: what is known about them, addresses, row numbers of READS."""

_DNS_PORT = 53
_METADATA_LOW = 0xFFFF_A9FE_A9FE  # ::ffff:169.254.169.254


@dataclass(frozen=True)
class Located:
    """Rows with the nodes of both ends: row numbers of ``nodes``."""

    own: Int32
    peer: Int32
    nodes: pa.Table  # NODE_LABELS


@dataclass(frozen=True)
class Circle:
    """What the enrichment of some rows works with."""

    names: Names
    known: Known
    detail: Detail
    span: Span


def locate(rows: Rows, matched: Matched, circle: Circle) -> Located:
    """Find out who both ends of each row are, in the span of their window."""
    place, covered = _covered(rows, matched, circle)
    own = place[matched.own]
    alone = np.flatnonzero(matched.peer < 0)
    number, addresses = _addresses(rows, alone, covered["cluster"][own[alone]], circle)
    peer = place[matched.peer]
    peer[alone] = len(covered["about"]) + number
    ends = {name: np.concatenate([covered[name], addresses[name]]) for name in covered}
    asked = _asked_services(rows, matched, ends["cluster"][own], circle)
    tables = _tables(circle.known)
    _unite(ends, tables, circle)
    code, first = _encode(_key(ends, circle.detail))
    ends = {name: values[first] for name, values in ends.items()}
    own, peer = code[own], code[peer]
    if asked is not None:
        own, peer, ends = _with_services(rows, own, peer, ends, asked)
    labels = resolve(ends, tables, circle.detail)
    node, nodes = distinct_nodes(labels)
    return Located(node[own], node[peer], nodes)


def _tables(known: Known) -> Mapping[str, pa.Table]:
    given = {"networks": known.networks.table, "systems": known.systems.table}
    return {**known.tables, **given}


# -- ends whose collector reports them -------------------------------------------------


def _covered(rows: Rows, matched: Matched, circle: Circle) -> tuple[Int32, Found]:
    """Return for each of ``matched.ends`` its number, and the ends by number."""
    ends, key = matched.ends, matched.end_keys
    unknown: Bool = (ends.process == 0) & (ends.cgroup == 0)
    by_address = bool(circle.known.clusters) and bool(unknown.any())
    high, low = np.zeros((2, len(ends)), np.int64)
    if circle.detail.addresses or by_address:
        high, low = _own_addresses(rows, matched)
        if not circle.detail.addresses:
            high, low = np.where(unknown, high, 0), np.where(unknown, low, 0)
        key = combine(key, high, low)
    number, first = _encode(key)
    chosen = ends.take(first)
    found = _nobody(len(first), About.COVERED)
    found |= {"high": high[first], "low": low[first]}
    known = circle.known
    found["host"] = known.host.find(chosen.source)
    process = known.process.find(combine(chosen.source, chosen.process))
    of_process = pick(known.cgroup_of_process, process, 0)
    cgroup = np.where(chosen.cgroup != 0, chosen.cgroup, of_process)
    found["process"] = process
    found["cgroup"] = known.cgroup.find(combine(chosen.source, cgroup))
    if known.clusters:
        _find_pods(found, unknown[first], circle)
    return number, found


def _own_addresses(rows: Rows, matched: Matched) -> tuple[Int64, Int64]:
    """Return the address of each of ``matched.ends``."""
    high, low = np.zeros((2, len(matched.ends)), np.int64)
    paired = np.flatnonzero(matched.peer >= 0)
    for side, values in (("high", high), ("low", low)):
        # A remembered end has no row: its address is what its peer's row says.
        remote = rows.int64(f"remote_address_{side}")
        values[matched.peer[paired]] = remote[paired]
        values[matched.own] = rows.int64(f"local_address_{side}")
    return high, low


def _find_pods(found: Found, unknown: Bool, circle: Circle) -> None:
    """Fill in pods, clusters and nodes; a pod of an unknown process by its address."""
    known, members = circle.known, circle.known.members
    of_host = pick(members.host_cluster, found["host"])
    pod = pick(members.cgroup_pod, found["cgroup"])
    rest = np.flatnonzero(unknown & (pod < 0))
    if len(rest):
        asked = Asked(of_host, found["high"], found["low"], np.zeros_like(of_host))
        pod[rest] = known.addresses.find(asked.take(rest), circle.span).pod
    cluster = pick(known.clusters.of("pods"), pod)
    node = pick(members.pod_node, pod)
    found |= {
        "pod": pod,
        "container": pick(members.cgroup_container, found["cgroup"]),
        "node": np.where(node >= 0, node, pick(members.host_node, found["host"])),
        "cluster": np.where(cluster >= 0, cluster, of_host),
    }


def _nobody(count: int, about: About) -> Found:
    found = {name: nobody(count) for name in READS}
    zeros = np.zeros(count, np.int64)
    return {"about": np.full(count, int(about)), "high": zeros, "low": zeros, **found}


# -- ends of which there is only an address --------------------------------------------


def _addresses(
    rows: Rows, alone: Int64, cluster: Int64, circle: Circle
) -> tuple[Int32, Found]:
    """Return for each row that has only its peer's address its number among them."""
    high = rows.int64("remote_address_high")[alone]
    low = rows.int64("remote_address_low")[alone]
    port = np.where(rows.is_client[alone], rows.server_port[alone], 0)
    about = _about(high, low, port)
    local = (about == About.METADATA) | (about == About.LOCALHOST)
    source = np.where(local, rows.source[alone], 0)
    if circle.known.names_addresses or circle.detail.addresses:
        protocol = rows.int64("protocol")[alone]
        service = np.where(port != 0, port << 8 | protocol, 0)
        service[about == About.LOCALHOST] = 0
        key = combine(about, source, cluster, high, low, service)
    else:
        service = np.zeros(len(alone), np.int64)
        key = combine(about, source)
    number, first = _encode(key)
    asked = Asked(cluster, high, low, service).take(first)
    found = _nobody(len(first), About.ADDRESS) | {"about": about[first]}
    if circle.detail.addresses:
        found |= {"high": asked.high, "low": asked.low}
    host = circle.known.host.find(source[first])
    found["host"] = np.where(local[first], host, NOBODY)
    found["node"] = pick(circle.known.members.host_node, found["host"])
    found["cluster"] = pick(circle.known.members.host_cluster, found["host"])
    if circle.known.names_addresses:
        _name_addresses(found, asked, circle)
    return number, found


def _about(high: Int64, low: Int64, port: Int64) -> Int64:
    about = np.full(len(high), int(About.ADDRESS))
    about[port == _DNS_PORT] = About.DNS
    about[is_loopback(high, low)] = About.LOCALHOST
    about[(high == 0) & (low == _METADATA_LOW)] = About.METADATA
    return about


def _name_addresses(found: Found, asked: Asked, circle: Circle) -> None:
    """Fill in whose the addresses are, in the cluster of whoever talks to them."""
    known = circle.known
    elsewhere = np.flatnonzero(found["about"] != About.LOCALHOST)
    asked = asked.take(elsewhere)
    network = known.networks.find(asked.high, asked.low)
    found["network"][elsewhere] = network
    if known.clusters:
        owners = known.addresses.find(asked, circle.span)
        of_pod = pick(known.members.pod_node, owners.pod)
        found["pod"][elsewhere] = owners.pod
        found["service"][elsewhere] = owners.service
        found["at_node"][elsewhere] = owners.node
        node = np.where(of_pod >= 0, of_pod, owners.node)
        cluster = nobody(len(elsewhere))
        for table, row in (
            ("pods", owners.pod), ("services", owners.service), ("nodes", owners.node),
        ):  # fmt: skip
            cluster = np.where(row >= 0, pick(known.clusters.of(table), row), cluster)
        is_owned = np.flatnonzero(cluster >= 0)
        found["node"][elsewhere[is_owned]] = node[is_owned]
        found["cluster"][elsewhere[is_owned]] = cluster[is_owned]
        rest = np.flatnonzero(cluster < 0)
        elsewhere, asked = elsewhere[rest], asked.take(rest)
    found["system"][elsewhere] = known.systems.find(asked.high, asked.low)


# -- Services behind translations ------------------------------------------------------


def _asked_services(
    rows: Rows, matched: Matched, cluster: Int64, circle: Circle
) -> Int64 | None:
    """Return the Service that each row's client asked for; None: nobody asked one.

    What one end's host translated counts for the other end's row, too.
    """
    known = circle.known
    if not known.clusters or not known.tables["translations"].num_rows:
        return None
    translation_id = rows.int64("translation_id")
    translated = np.flatnonzero(translation_id != 0)
    if not len(translated):
        return None
    row = known.find_translations(rows.source[translated], translation_id[translated])
    translated, row = translated[row >= 0], row[row >= 0]
    number, first = _encode(combine(row, cluster[translated]))
    table = known.tables["translations"].take(row[first])
    # The cluster of who translates; of the row where a host is in several.
    host = known.host.find(_integers(table, "source"))
    where = pick(known.members.host_cluster, host)
    service = known.addresses.find_services(
        Asked(
            np.where(where >= 0, where, cluster[translated[first]]),
            _integers(table, "service_address_high"),
            _integers(table, "service_address_low"),
            _integers(table, "service_port") << 8 | _integers(table, "protocol"),
        ),
        circle.span,
    )
    if not (service >= 0).any():
        return None
    asked = nobody(len(rows))
    asked[translated] = service[number]
    told = nobody(len(matched.ends))
    np.maximum.at(told, matched.own[translated], asked[translated])
    other = np.flatnonzero((matched.peer >= 0) & (asked < 0))
    asked[other] = told[matched.peer[other]]
    return asked


def _with_services(
    rows: Rows, own: Int32, peer: Int32, ends: Found, asked: Int64
) -> tuple[Int32, Int32, Found]:
    """Tell apart the servers' ends by the Service that was asked for."""
    is_client = rows.is_client
    own_asked = np.where(is_client, NOBODY, asked)
    peer_asked = np.where(is_client, asked, NOBODY)
    end = np.concatenate([own, peer]).astype(np.int64)
    service = np.concatenate([own_asked, peer_asked])
    number, first = _encode(end << 32 | (service + 1))
    ends = {name: values[end[first]] for name, values in ends.items()}
    ends["asked"] = service[first]
    return number[: len(rows)], number[len(rows) :], ends


def _integers(table: pa.Table, name: str) -> Int64:
    return table.column(name).to_numpy().astype(np.int64)


# -- ends that read the same -----------------------------------------------------------


def _unite(ends: Found, tables: Mapping[str, pa.Table], circle: Circle) -> None:
    """Replace each row number by that of the first row that reads the same."""
    for name, read in READS.items():
        if (ends[name] >= 0).any():
            columns = read.chosen(circle.detail)
            same = circle.names.same_rows(read.table, tables[read.table], columns)
            ends[name] = pick(same, ends[name])


def _key(ends: Found, detail: Detail) -> Int64:
    columns = ["about", *READS]
    if detail.addresses:
        columns += ["high", "low"]
    return combine(*(ends[name] for name in columns))


def _encode(keys: Int64) -> tuple[Int32, Int64]:
    """Return a dense code for each key, and the first row that has each code."""
    encoded = pa.array(keys).dictionary_encode()
    codes: Int32 = encoded.indices.to_numpy(zero_copy_only=False)
    first = np.empty(len(encoded.dictionary), np.int64)
    first[codes[::-1]] = np.arange(len(keys) - 1, -1, -1)
    return codes, first


def distinct_nodes(nodes: pa.Table) -> tuple[Int32, pa.Table]:
    """Return the row of each node among the distinct ones, and the distinct ones."""
    codes = np.zeros(nodes.num_rows, np.int64)
    for label in NODE_LABELS:
        encoded = nodes.column(label).combine_chunks().dictionary_encode()
        codes = combine(codes, encoded.indices.to_numpy().astype(np.int64))
    number, first = _encode(codes)
    return number, nodes.take(first)
