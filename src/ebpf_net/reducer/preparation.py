"""Preparation: from the batches of a window to rows that can be matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.ingest import Received, last_ends, source_key
from ebpf_net.reducer.keys import Bool, Int64, text_key
from ebpf_net.reducer.known import Known
from ebpf_net.reducer.lookups import Lookup
from ebpf_net.reducer.matching import (
    Circumstances,
    recent_endpoints,
    recent_windows,
)
from ebpf_net.reducer.memory import Memory, find_ends, parts_of
from ebpf_net.reducer.rows import (
    SAMPLES_SCHEMA,
    Rows,
    concat_rows,
    int64_column,
    make_rows,
    with_scopes,
)
from ebpf_net.reducer.scopes import (
    EVERYWHERE,
    OUTSIDE,
    adopt_scopes,
    scopes_of,
    scopes_of_sources,
)
from ebpf_net.reducer.translation import Translated, translate
from ebpf_net.reducer.translation_table import SortedTranslations, Tellers


def collect_rows(received: tuple[Received, ...], boots: Mapping[int, int]) -> Rows:
    """Return the rows of all batches; ``boots`` has the key of each source's host.

    Sockets are open as a collector's last window says.
    """
    ends = last_ends(received)
    parts = []
    for one in received:
        header, tables = one.batch.header, one.batch.tables
        edges = tables.get("edges")
        if edges is None or not edges.num_rows:
            continue
        source = source_key(header)
        boot = boots.get(source, text_key("collector", header.collector))
        samples = tables.get("edge_samples", SAMPLES_SCHEMA.empty_table())
        rows = make_rows(edges, samples, source, boot)
        is_last = header.window_end_ns == ends[header.collector]
        parts.append(rows if is_last else rows.without_open())
    return concat_rows(parts)


@dataclass(frozen=True)
class Hosts:
    """What is known of the hosts that tell: all that has names, and their boots.

    ``processes`` has for each source one that stands for its collector.
    """

    known: Known
    boots: Mapping[int, int]
    processes: Mapping[int, int]

    def collectors(self, sources: Int64) -> Int64:
        """Return who the collectors of these sources are."""
        distinct, of = np.unique(sources, return_inverse=True)
        stands = [self.processes.get(int(one), int(one)) for one in distinct]
        return np.array(stands, np.int64)[of]


def translate_rows(
    rows: Rows,
    hosts: Hosts,
    translations: SortedTranslations,
    memory: Memory,
    now: Circumstances,
) -> Translated:
    """Let the ends meet that hosts between them have translated."""
    told = hosts.known.tables["translations"]
    if not told.num_rows or not len(rows):
        return Translated(rows)
    table = translations.sort(told, _tellers(told, hosts, rows))
    rows = _in_scopes(rows, hosts.known)
    served = rows.keys.far_endpoint[~rows.is_client]
    known = recent_endpoints(memory, now)

    def covered(endpoint: Int64) -> Bool:
        reported, _ = find_ends(known, endpoint, endpoint, now.live)
        return reported | np.isin(endpoint, served)

    return translate(rows, table, hosts.collectors(rows.source), covered)


def _tellers(translations: pa.Table, hosts: Hosts, rows: Rows) -> Tellers:
    sources, of = np.unique(int64_column(translations, "source"), return_inverse=True)
    boots = np.array([hosts.boots.get(int(source), 0) for source in sources], np.int64)
    unknown = np.flatnonzero(boots == 0)
    if len(unknown):  # a host of its own, as its rows say
        row = Lookup(rows.source).find(sources[unknown])
        boots[unknown] = np.where(row >= 0, rows.boot[row], sources[unknown])
    return Tellers(
        boots[of],
        hosts.collectors(sources)[of],
        scopes_of_sources(sources, hosts.known)[of],
        hosts.known.addresses.shared,
    )


def _in_scopes(rows: Rows, known: Known) -> Rows:
    """Give rows the scopes that they have before anything is translated."""
    if not len(known.addresses.shared):
        return rows
    scope = scopes_of(rows, known)
    return with_scopes(
        rows, adopt_scopes(scope, rows.unscoped_keys, known.cluster_keys, [])
    )


def keep_clusters_apart(
    rows: Rows, known: Known, memory: Memory, now: Circumstances
) -> Rows:
    """Let rows of clusters that share addresses not be of one connection.

    That may have begun since a row was held or remembered: memory then knows its key in
    the new scope, too. Where clusters cease to share, memory is as it was.
    """
    if not len(known.addresses.shared) and not rows.int64("scope").any():
        return rows
    numbers = recent_windows(now)
    parts = [
        *parts_of(memory.clients, numbers),
        *parts_of(memory.stood_in, numbers),
    ]
    keys = rows.unscoped_keys
    scope = adopt_scopes(scopes_of(rows, known), keys, known.cluster_keys, parts)
    changed = np.flatnonzero(scope != EVERYWHERE)
    for former in (EVERYWHERE, OUTSIDE):
        old = keys.take(changed)
        new = old.within(scope[changed])
        memory.follow(numbers, old.within(np.full(len(changed), former)), new)
    return with_scopes(rows, scope)
