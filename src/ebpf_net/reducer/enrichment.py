"""Enrichment: who both ends of each row are. Rows get integers only.

Distinct ends are looked up, ends that would read the same become one, and only those
get labels: see resolve.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.address_ends import address_ends
from ebpf_net.reducer.asked_services import asked_services, with_services
from ebpf_net.reducer.covered_ends import covered_ends
from ebpf_net.reducer.ends import (
    PLACE_COLUMNS,
    READS,
    Circle,
    Detail,
    Found,
    Int32,
    encode,
    places_of,
)
from ebpf_net.reducer.keys import Int64, combine
from ebpf_net.reducer.known import Known
from ebpf_net.reducer.lookups import pick
from ebpf_net.reducer.matching import Matched
from ebpf_net.reducer.resolve import NODES_SCHEMA, resolve
from ebpf_net.reducer.rows import Rows
from ebpf_net.schema import NODE_LABELS


@dataclass(frozen=True)
class Located:
    """Rows with the nodes of both ends: row numbers of ``nodes``."""

    own: Int32
    peer: Int32
    nodes: pa.Table  # NODE_LABELS


def locate(rows: Rows, matched: Matched, circle: Circle) -> Located:
    """Find out who both ends of each row are, in the span of their window."""
    number, covered = covered_ends(rows, matched, circle)
    own = number[matched.own]
    alone = np.flatnonzero(matched.peer < 0)
    peer = number[matched.peer]
    places = places_of(covered, own[alone])
    number, addresses = address_ends(rows, alone, places, circle)
    peer[alone] = len(covered["about"]) + number
    ends = _together(covered, addresses)
    asked = asked_services(rows, matched, places_of(ends, own), circle)
    tables = _tables(circle.known)
    _unite(ends, tables, circle)
    code, first = encode(_key(ends, circle.detail))
    ends = {name: values[first] for name, values in ends.items()}
    own, peer = code[own], code[peer]
    if asked is not None:
        own, peer, ends = with_services(rows, own, peer, ends, asked)
    labels = resolve(ends, tables, circle.detail)
    node, nodes = distinct_nodes(labels)
    return Located(node[own], node[peer], nodes)


def _together(covered: Found, addresses: Found) -> Found:
    """Return all ends; kinds of rows that none has are left out, but for places."""
    optional = READS.keys() - set(PLACE_COLUMNS)
    return {
        name: np.concatenate([values, addresses[name]])
        for name, values in covered.items()
        if name not in optional or (values >= 0).any() or (addresses[name] >= 0).any()
    }


def _tables(known: Known) -> Mapping[str, pa.Table]:
    given = {"networks": known.networks.table, "systems": known.systems.table}
    return {**known.tables, **given}


def _unite(ends: Found, tables: Mapping[str, pa.Table], circle: Circle) -> None:
    """Replace each row number by that of the first row that reads the same."""
    for name, read in READS.items():
        if name in ends:
            columns = read.chosen(circle.detail)
            same = circle.names.same_rows(read.table, tables[read.table], columns)
            ends[name] = pick(same, ends[name])


def _key(ends: Found, detail: Detail) -> Int64:
    columns = ["about", *(name for name in READS if name in ends)]
    if detail.addresses:
        columns += ["high", "low"]
    return combine(*(ends[name] for name in columns))


def distinct_nodes(nodes: pa.Table) -> tuple[Int32, pa.Table]:
    """Return the row of each node among the distinct ones, and the distinct ones."""
    codes = np.zeros(nodes.num_rows, np.int64)
    told = told_labels(nodes)
    for label in told:
        encoded = nodes.column(label).combine_chunks().dictionary_encode()
        codes = combine(codes, encoded.indices.to_numpy().astype(np.int64))
    number, first = encode(codes)
    taken = nodes.select(told).take(first)
    columns = [
        taken.column(label)
        if label in told
        else nodes.column(label).slice(0, len(first))
        for label in NODE_LABELS
    ]
    return number, pa.Table.from_arrays(columns, schema=NODES_SCHEMA)


def told_labels(nodes: pa.Table) -> list[str]:
    """Return the labels of which any node has one, and perhaps others."""
    return [
        label
        for label in NODE_LABELS
        if any(_has_text(chunk) for chunk in nodes.column(label).chunks)
    ]


def _has_text(texts: pa.Array[Any]) -> bool:
    data = texts.buffers()[-1]
    return data is not None and data.size > 0
