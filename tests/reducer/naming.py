"""What some sources told, and the names that edges get by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ebpf_net.reducer.circumstances import Circumstances, Moment
from ebpf_net.reducer.claims import Span
from ebpf_net.reducer.ends import Circle, Detail
from ebpf_net.reducer.engine import Engine
from ebpf_net.reducer.enrichment import locate
from ebpf_net.reducer.known import Names
from ebpf_net.reducer.matching import match
from ebpf_net.reducer.memory import Memory
from ebpf_net.reducer.reference import Change, References
from ebpf_net.reducer.rows import concat_rows, make_rows
from ebpf_net.testing.kubernetes import Cluster
from ebpf_net.testing.tables import Row, make_table

FULL = Detail(addresses=True)
COARSE = Detail(addresses=False)
WINDOW = Span(1000, 1010)

Labels = dict[str, str]


@dataclass
class Told:
    """Reference tables by source, and how ends are named by them."""

    engine: Engine
    detail: Detail = FULL
    span: Span = WINDOW
    names: Names = field(default_factory=Names)
    changes: list[Change] = field(default_factory=list)

    def tell(self, source: int, **tables: Iterable[Row]) -> None:
        """Let a collector tell something."""
        made = {name: make_table(name, rows) for name, rows in tables.items()}
        self.changes.append(Change(source, made, snapshot=False))

    def tell_host(self, source: int, name: str, **host: str) -> None:
        """Let a host's collector tell who it is."""
        row = {"host_id": name, "host_name": name, "boot_id": f"boot-{name}", **host}
        self.tell(source, hosts=[row])

    def tell_cluster(self, source: int, cluster: Cluster) -> None:
        """Let a cluster's collector tell all."""
        self.tell(source, **cluster.tables)

    def name(
        self, *edges: tuple[int, Row], kept: Sequence[bool] | None = None
    ) -> list[tuple[Labels, Labels]]:
        """Return the labels of both ends of rows by their sources, without blanks.

        All rows are matched, and those that are ``kept`` named.
        """
        references = References()
        references.apply(self.changes, 0)
        samples = make_table("edge_samples", [])
        rows = concat_rows(
            [
                make_rows(make_table("edges", [row]), samples, source, source)
                for source, row in edges
            ]
        )
        now = Circumstances(0, Moment.ON_TIME)
        matched, _, _ = match(rows, np.zeros(len(rows), bool), Memory(), now)
        if kept is not None:
            chosen = np.array(kept)
            rows, matched = rows.take(chosen), matched.take(chosen)
        known = self.names.known(self.engine, references.tables)
        circle = Circle(self.names, known, self.detail, self.span)
        located = locate(rows, matched, circle)
        nodes: Sequence[Mapping[str, str]] = located.nodes.to_pylist()
        return [
            (_without_blanks(nodes[own]), _without_blanks(nodes[peer]))
            for own, peer in zip(located.own, located.peer, strict=True)
        ]


def _without_blanks(labels: Mapping[str, str]) -> Labels:
    return {label: value for label, value in labels.items() if value}
