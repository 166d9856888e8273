"""Levels cut into blocks of edges of one protocol, and the values of a metric in them.

Everything is a NumPy column; a block is small enough to be held with its labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ebpf_net.metrics import Metric
from ebpf_net.schema import Derived, Level, Protocol, Sample, Window

BLOCK_ROWS = 16_384

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# Rounds of 2**(i/4) seconds from 2**-32 s to 2**32 s. Real times are far inside; the
# bound keeps a hostile bucket number from making a histogram of 65,536 buckets.
_LOWEST_BUCKET, _HIGHEST_BUCKET = -128, 127


@dataclass(frozen=True)
class LevelSeries:
    """A level with what its values cover: from when on, and whether for many edges."""

    level: Level
    start_ns: Integers  # of each edge
    overflow: NDArray[np.bool_]  # the edge stands for all those over the limit


def window_series(window: Window) -> dict[str, LevelSeries]:
    """Return the levels of a window, whose values all begin with it."""
    return {
        name: LevelSeries(
            # One chunk a column: blocks look into them without copying.
            replace(
                level,
                edges=level.edges.combine_chunks(),
                samples=level.samples.combine_chunks(),
            ),
            np.full(level.edges.num_rows, window.start_ns, np.int64),
            np.zeros(level.edges.num_rows, np.bool_),
        )
        for name, level in window.levels.items()
    }


@dataclass(frozen=True)
class EdgeSamples:
    """Samples of one kind; ``rows`` are row numbers of the block, ascending."""

    rows: Integers
    buckets: Integers
    counts: Integers


@dataclass(frozen=True)
class EdgeBlock:
    """Edges of one level and one protocol."""

    level_name: str
    protocol: Protocol
    series: LevelSeries
    rows: Integers  # row numbers of the level's edges, ascending

    def column(self, name: str) -> Integers:
        """Return a column of LEVEL_EDGES."""
        column = self.series.level.edges.column(name).to_numpy()
        return column[self.rows].astype(np.int64)

    def samples(self, kind: Sample | Derived) -> EdgeSamples:
        """Return the samples of a kind that have been counted at least once."""
        table = self.series.level.samples
        edges = table.column("edge").to_numpy()
        # Samples are sorted by edge, so the block's lie in one range.
        start = int(np.searchsorted(edges, self.rows[0]))
        end = int(np.searchsorted(edges, self.rows[-1], "right"))
        edges = edges[start:end].astype(np.int64)
        kinds = table.column("kind").to_numpy()[start:end]
        counts = table.column("count").to_numpy()[start:end]
        rows = np.minimum(np.searchsorted(self.rows, edges), len(self.rows) - 1)
        mine = (kinds == int(kind)) & (counts > 0) & (self.rows[rows] == edges)
        return EdgeSamples(
            rows=rows[mine],
            buckets=table.column("bucket").to_numpy()[start:end][mine].astype(np.int64),
            counts=counts[mine].astype(np.int64),
        )


def cut_blocks(levels: Mapping[str, LevelSeries]) -> Iterator[EdgeBlock]:
    """Yield the blocks of all levels; none is empty."""
    for name, series in levels.items():
        protocols = series.level.edges.column("protocol").to_numpy()
        for protocol in Protocol:
            rows = np.flatnonzero(protocols == int(protocol))
            for start in range(0, len(rows), BLOCK_ROWS):
                part = rows[start : start + BLOCK_ROWS]
                yield EdgeBlock(name, protocol, series, part)


@dataclass(frozen=True)
class Numbers:
    """Values of a sum or gauge; ``rows`` is None if every row of the block has one."""

    values: Integers | Floats
    rows: Integers | None


def number_values(block: EdgeBlock, metric: Metric) -> Numbers:
    """Return the values of a metric without samples."""
    values = block.column(metric.column)
    if not metric.divisor:
        return Numbers(values, None)
    divisors = block.column(metric.divisor)
    rows = np.flatnonzero(divisors > 0)
    return Numbers(values[rows] / divisors[rows], rows)


def reason_values(block: EdgeBlock, metric: Metric) -> EdgeSamples:
    """Return the values of a sum by reason; ``buckets`` are the reasons' numbers."""
    if metric.sample is None:
        raise ValueError(f"{metric.name} has no samples")
    return block.samples(metric.sample)


def reason_numbers(samples: EdgeSamples, metric: Metric) -> Integers | Floats:
    """Return what samples count in the metric's unit."""
    return samples.counts if metric.parts == 1 else samples.counts / metric.parts


def reason_name(metric: Metric, reason: int) -> str:
    """Return a reason's name, or its number where the catalogue does not know it."""
    return dict(metric.reasons).get(reason, str(reason))


@dataclass(frozen=True)
class Histograms:
    """Exponential histograms of the block's ``rows``.

    The buckets of row ``i`` are ``bucket_counts[starts[i]:starts[i + 1]]``, the first
    of them number ``offsets[i]``. Samples of zero length are only in ``zero_counts``.
    """

    rows: Integers
    counts: Integers
    zero_counts: Integers
    sums_seconds: Floats
    offsets: Integers
    starts: Integers
    bucket_counts: Integers
    maximum_seconds: Floats  # 0: unknown


def histogram_values(block: EdgeBlock, metric: Metric) -> Histograms:
    """Return the histograms of the rows that have a sample."""
    samples = reason_values(block, metric)
    buckets = np.clip(samples.buckets, _LOWEST_BUCKET, _HIGHEST_BUCKET)
    size = len(block.rows)
    totals = np.bincount(samples.rows, samples.counts, size).astype(np.int64)
    counts = np.maximum(block.column(metric.divisor), totals)
    first = np.full(size, _HIGHEST_BUCKET + 1)
    last = np.full(size, _LOWEST_BUCKET - 1)
    np.minimum.at(first, samples.rows, buckets)
    np.maximum.at(last, samples.rows, buckets)
    widths = np.where(totals > 0, last - first + 1, 0)
    starts = np.zeros(size + 1, np.int64)
    np.cumsum(widths, out=starts[1:])
    bucket_counts = np.zeros(starts[-1], np.int64)
    positions = starts[samples.rows] + buckets - first[samples.rows]
    np.add.at(bucket_counts, positions, samples.counts)
    rows = np.flatnonzero(counts > 0)
    return Histograms(
        rows=rows,
        counts=counts[rows],
        zero_counts=(counts - totals)[rows],
        sums_seconds=block.column(metric.column)[rows] / 1e6,
        offsets=np.where(totals > 0, first, 0)[rows],
        # Rows without a sample have no buckets, so the starts of the others stand.
        starts=np.append(starts[rows], starts[-1]),
        bucket_counts=bucket_counts,
        maximum_seconds=_maximum(block, metric)[rows],
    )


def _maximum(block: EdgeBlock, metric: Metric) -> Floats:
    """Return the largest sample. ``rtt_min_us`` is no sample, but the kernel's own."""
    if metric.sample is not Sample.RTT:
        return np.zeros(len(block.rows))
    return block.column("rtt_max_us") / 1e6
