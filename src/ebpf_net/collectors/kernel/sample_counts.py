"""Histograms and reasons of edges: how often each (edge, kind, bucket) occurred."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.schema import HISTOGRAM_SCALE, Sample

_PENDING_LIMIT = 65_536
_BUCKET_OFFSET = 1 << 15
_BUCKETS_PER_OCTAVE = 1 << HISTOGRAM_SCALE
_LOWEST_BUCKET = -80  # of a microsecond
_HIGHEST_BUCKET = 48  # of 2**32 microseconds


def _upper_bound_us(bucket: int) -> int:
    """Return the largest whole number of microseconds in a bucket, exactly.

    It is the largest n with (n / 10**6) ** 4 <= 2 ** (bucket + 1).
    """
    exponent = bucket + 1
    scale = (10**6) ** _BUCKETS_PER_OCTAVE
    limit = scale << exponent if exponent >= 0 else scale >> -exponent
    guess: int = round(limit ** (1 / _BUCKETS_PER_OCTAVE))
    while guess**_BUCKETS_PER_OCTAVE > limit:
        guess -= 1
    while (guess + 1) ** _BUCKETS_PER_OCTAVE <= limit:
        guess += 1
    return guess


_UPPER_BOUNDS_US = np.array(
    [_upper_bound_us(bucket) for bucket in range(_LOWEST_BUCKET, _HIGHEST_BUCKET)],
    np.int64,
)


def duration_buckets(durations_us: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the histogram bucket of each duration, see ``schema.HISTOGRAM_SCALE``."""
    places = np.searchsorted(_UPPER_BOUNDS_US, durations_us.astype(np.int64))
    return places.astype(np.int64) + _LOWEST_BUCKET


def sample_codes(kind: Sample, buckets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Pack a kind and buckets into the lower 24 bits."""
    return (int(kind) << 16) | (buckets + _BUCKET_OFFSET)


class SampleCounts:
    """Counts of the samples of one window, by edge, kind and bucket."""

    def __init__(self) -> None:
        self._pending: list[npt.NDArray[np.int64]] = []
        self._pending_size = 0
        self._codes = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)

    def add(
        self,
        edges: npt.NDArray[np.int64],
        codes: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Count samples by edge number and ``sample_codes``; one each by default."""
        if not edges.size:
            return
        if counts is not None:
            self._merge((edges << 24) | codes, counts)
            return
        self._pending.append((edges << 24) | codes)
        self._pending_size += edges.size
        if self._pending_size > _PENDING_LIMIT:
            self._settle()

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return ``schema.EDGE_SAMPLES``, sorted by edge, kind and bucket."""
        self._settle()
        buckets = (self._codes & 0xFFFF) - _BUCKET_OFFSET
        return {
            "edge": (self._codes >> 24).astype(np.int32),
            "count": self._counts.astype(np.int32),
            "bucket": buckets.astype(np.int16),
            "kind": ((self._codes >> 16) & 0xFF).astype(np.int8),
        }

    def _settle(self) -> None:
        if not self._pending:
            return
        new, new_counts = np.unique(np.concatenate(self._pending), return_counts=True)
        self._pending, self._pending_size = [], 0
        self._merge(new, new_counts)

    def _merge(
        self, new: npt.NDArray[np.int64], new_counts: npt.NDArray[np.int64]
    ) -> None:
        codes = np.concatenate([self._codes, new])
        order = np.argsort(codes)
        codes = codes[order]
        is_first = np.ones(codes.size, np.bool_)
        is_first[1:] = codes[1:] != codes[:-1]
        starts = np.flatnonzero(is_first)
        counts = np.concatenate([self._counts, new_counts])[order]
        self._codes = codes[starts]
        self._counts = np.add.reduceat(counts, starts)
