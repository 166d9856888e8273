"""What travels from a collector to the reducer: one header and a few Arrow tables.

A batch is self-describing: it can be resent, kept on disk, replayed, or reduced on
another machine. The body is one Arrow IPC stream after another; the metadata of each
stream's schema has its table's name under ``table``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

PATH = "/v1/batches"
CONTENT_TYPE = "application/vnd.apache.arrow.stream"


class BatchKind(Enum):
    """What a batch is for."""

    WINDOW = "window"  # edges of a window, with changes of reference tables before them
    SNAPSHOT = "snapshot"  # all reference rows of a collector; replaces what was known


@dataclass(frozen=True)
class BatchHeader:
    """Identity of a batch. Each field is an HTTP header; times are Unix nanoseconds."""

    collector: str  # Ebpf-Net-Collector: stable over restarts, unique in the system
    incarnation: str  # Ebpf-Net-Incarnation: new at each start of the collector
    host: str  # Ebpf-Net-Host: for people
    kind: BatchKind  # Ebpf-Net-Kind
    sequence: int  # Ebpf-Net-Sequence: 1, 2, 3 ... of an incarnation's windows;
    #   a snapshot has the sequence of the last window batch made before it
    window_start_ns: int  # Ebpf-Net-Window-Start, collector's clock
    window_end_ns: int  # Ebpf-Net-Window-End
    last_of_window: bool  # Ebpf-Net-Window-Last: 1 or 0; a large window has several
    status: Mapping[str, int]  # Ebpf-Net-Status: JSON; counters since the start, such
    #   as {"lost.ring_full": 0, "signal.tcp.tp_btf": 1}; in each batch
    # The client sets these at each attempt. They are true whoever the reducer is.
    settled: int = 0  # Ebpf-Net-Settled: window batches up to here are gone for good,
    #   committed, refused or lost
    previous: int = 0  # Ebpf-Net-Previous, of a window: the last batch before it that
    #   is not gone for good, 0 if there is none


@dataclass(frozen=True)
class Batch:
    """A batch ready to be sent: ``body`` is the zstd-compressed stream.

    The time of sending (Ebpf-Net-Sent) is added by the client at each attempt, as the
    reducer measures the collector's clock with it.
    """

    header: BatchHeader
    body: bytes
    rows: int


@dataclass(frozen=True)
class Receipt:
    """The reducer's answer to a batch, as JSON.

    ``committed``: all batches of this incarnation up to this sequence have been
    exported and need not be kept. ``received``: the highest sequence received without a
    gap. ``reducer`` changes when the reducer restarts. HTTP status: 200 accepted (or a
    duplicate), 409 a snapshot is needed first, 429/503 with Retry-After later, 400,
    401, 413, 415, 422 refused for good.
    """

    committed: int
    received: int
    reducer: str
    time_ns: int
    duplicate: bool = False  # the batch was received before and not counted again
