"""What the reducer can be told, and what it hands out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.schema import Window

Commit = tuple[str, str, int]
"""Collector, incarnation, sequence."""


@dataclass(frozen=True)
class ReducerOptions:
    """What the reducer can be told."""

    window_ns: int = 10_000_000_000
    lateness_ns: int = 2_000_000_000
    levels: tuple[str, ...] = ("az_az",)
    threads: int = 1
    memory_limit: str = "512MiB"
    spill_directory: Path | None = None  # for what memory cannot hold
    node_ip: bool = True
    system_ip: bool = False  # of ends in autonomous systems
    zones: bool = False  # tell bytes by ZoneRelation, and their costs
    max_rows: int = 4_000_000  # that wait for their window; above it: Overloaded
    max_keys: int = 4_000_000  # edges remembered, see memory.py
    max_nodes: int = 200_000  # of a level; above it they become one
    max_edges: int = 500_000
    horizon_ns: int = 3_600_000_000_000  # what comes later than this is dropped


@dataclass(frozen=True)
class ClosedWindow:
    """A window, and the batches that are dealt with once it has been exported."""

    window: Window
    commits: tuple[Commit, ...]


def commit_of(batch: DecodedBatch) -> Commit:
    """Return what tells a batch from all others."""
    header = batch.header
    return (header.collector, header.incarnation, header.sequence)


def edge_count(batch: DecodedBatch) -> int:
    """Return how many edges a batch has."""
    edges = batch.tables.get("edges")
    return edges.num_rows if edges is not None else 0
