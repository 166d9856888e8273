"""Preparation: from the batches of a window to rows that can be matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ebpf_net.reducer.circumstances import Circumstances, recent_windows
from ebpf_net.reducer.cloud_public import (
    translations_from_outside,
    with_public_addresses,
)
from ebpf_net.reducer.ingest import Received, last_ends, source_key
from ebpf_net.reducer.keys import Int64, text_key
from ebpf_net.reducer.known import Known
from ebpf_net.reducer.memory import Memory, parts_of
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
from ebpf_net.reducer.translation import Translated, see_from_outside, translate
from ebpf_net.reducer.translation_table import Passages, Steps, Tellers
from ebpf_net.reducer.watched import Watched


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


def translate_rows(
    rows: Rows,
    held: Rows,
    known: Known,
    watchers: Watchers,
    now: Circumstances,
) -> tuple[Translated, Translated]:
    """Let the ends meet that hosts between them have translated.

    ``held`` are rows of a window before: what has become of them may be known only now.
    """
    told = translations_from_outside(known.tables["translations"], known.public)
    if not told.num_rows or not (len(rows) or len(held)):
        return Translated(rows), Translated(held)
    rows = see_from_outside(with_public_addresses(rows, known.public), told)
    live = frozenset(watchers.of.get(source, source) for source in now.live)
    watched = watchers.watched
    watched.note(rows, watchers.of_each(rows.source), now.number, live)
    source = int64_column(told, "source")
    scopes = scopes_of_sources(source, known)
    tellers = Tellers(watchers.of_each(source), scopes)
    passages = Passages.of(Steps.of(told, tellers, watched))
    return (
        translate(_in_scopes(rows, known), passages, watched),
        translate(held, passages, watched),
    )


@dataclass(frozen=True)
class Watchers:
    """What is watched, and what stands for the collector of each source.

    Several collectors of one machine see namespaces of their own.
    """

    watched: Watched
    of: Mapping[int, int]

    def of_each(self, source: Int64) -> Int64:
        """Return what stands for the collectors of these."""
        distinct, place = np.unique(source, return_inverse=True)
        own = [self.of.get(one, one) for one in distinct.tolist()]
        return np.array(own, np.int64)[place]


def _in_scopes(rows: Rows, known: Known) -> Rows:
    """Give rows the scopes that they have before anything is translated."""
    if not known.shares_addresses:
        return rows
    scope = scopes_of(rows, known)
    return with_scopes(
        rows, adopt_scopes(scope, rows.unscoped_keys, known.place_keys, [])
    )


def keep_clusters_apart(
    rows: Rows, known: Known, memory: Memory, now: Circumstances
) -> Rows:
    """Let rows of clusters that share addresses not be of one connection.

    That may have begun since a row was held or remembered: memory then knows its key in
    the new scope, too. Where clusters cease to share, memory is as it was.
    """
    numbers = recent_windows(now)
    before = parts_of(memory.clients, numbers), parts_of(memory.stood_in, numbers)
    rows = with_public_addresses(rows, known.public, *before)
    if not known.shares_addresses and not rows.int64("scope").any():
        return rows
    parts = [
        *parts_of(memory.clients, numbers),
        *parts_of(memory.stood_in, numbers),
    ]
    keys = rows.unscoped_keys
    scope = adopt_scopes(scopes_of(rows, known), keys, known.place_keys, parts)
    changed = np.flatnonzero(scope != EVERYWHERE)
    for former in (EVERYWHERE, OUTSIDE):
        old = keys.take(changed)
        new = old.within(scope[changed])
        memory.follow(numbers, old.within(np.full(len(changed), former)), new)
    return with_scopes(rows, scope)
