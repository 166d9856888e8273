"""Which batches of which collector have come, so that each counts once.

Pure state: no clock, no I/O, no lock; the owner calls it from one thread at a time.
A collector resends what is not committed, so a new reducer learns all it needs to know
from the first snapshot (``settled``) and the batches that follow. One that kept its
watermarks also knows what it committed when the collector has not heard of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from ebpf_net.intake.batch import BatchHeader, BatchKind

MAX_INCARNATIONS = 10_000
MAX_OUT_OF_ORDER = 1_024


class Verdict(Enum):
    """What the ledger says of a batch."""

    NEW = "new"
    DUPLICATE = "duplicate"  # drop it; the receipt is as for a new one
    NEEDS_SNAPSHOT = "needs_snapshot"  # nothing is known of this incarnation: HTTP 409


Watermark = tuple[str, str, int, list[int]]
"""Collector, incarnation, all up to where was exported, and what was beyond it."""

NEW = Verdict.NEW
DUPLICATE = Verdict.DUPLICATE
NEEDS_SNAPSHOT = Verdict.NEEDS_SNAPSHOT


@dataclass
class _Incarnation:
    heard_ns: int
    received: int = 0  # all up to here have come or are settled
    committed: int = 0
    highest: int = 0
    snapshot: int | None = None  # sequence of the last snapshot
    ahead: set[int] = field(default_factory=set)  # beyond a gap after `received`
    waiting: set[int] = field(default_factory=set)  # taken, not exported
    exported: set[int] = field(default_factory=set)  # beyond `committed`

    def settle(self, sequence: int) -> None:
        self.received = max(self.received, sequence)
        if self.ahead:
            self.ahead = {one for one in self.ahead if one > self.received}
        while self.received + 1 in self.ahead:
            self.received += 1
            self.ahead.discard(self.received)

    def commit(self, sequence: int) -> None:
        self.committed = max(self.committed, min(sequence, self.received))
        self.exported = {one for one in self.exported if one > self.committed}


class Ledger:
    """What has come from each incarnation of each collector."""

    def __init__(
        self,
        max_incarnations: int = MAX_INCARNATIONS,
        max_out_of_order: int = MAX_OUT_OF_ORDER,
    ) -> None:
        self._max_incarnations = max_incarnations
        self._max_out_of_order = max_out_of_order
        self._incarnations: OrderedDict[tuple[str, str], _Incarnation] = OrderedDict()
        self.duplicates = 0

    def seen(self, header: BatchHeader, now_ns: int = 0) -> Verdict:
        """Judge a batch and, if it is new, note it: call it when it will be taken."""
        key = (header.collector, header.incarnation)
        known = self._incarnations.get(key)
        if header.kind is BatchKind.SNAPSHOT:
            return self._seen_snapshot(key, known, header, now_ns)
        if known is None or known.snapshot is None:
            return NEEDS_SNAPSHOT
        self._hear(key, known, now_ns)
        sequence = header.sequence
        if sequence <= known.received or sequence in known.ahead:
            self.duplicates += 1
            return DUPLICATE
        known.ahead.add(sequence)
        known.waiting.add(sequence)
        known.highest = max(known.highest, sequence)
        known.settle(min(header.settled, sequence - 1))
        if header.previous <= known.received:
            known.settle(sequence - 1)  # nothing is left between the two
        if len(known.ahead) > self._max_out_of_order:
            known.settle(min(known.ahead))
        return NEW

    def commit(self, collector: str, incarnation: str, sequence: int) -> None:
        """Note that all that came up to ``sequence`` has been exported."""
        known = self._incarnations.get((collector, incarnation))
        if known is not None:
            known.commit(sequence)
            known.waiting = {one for one in known.waiting if one > known.committed}

    def export(self, collector: str, incarnation: str, sequence: int) -> None:
        """Note that one batch has been exported; what came before it may still wait."""
        known = self._incarnations.get((collector, incarnation))
        if known is not None:
            known.waiting.discard(sequence)
            known.exported.add(sequence)
            known.commit(min(known.waiting, default=max(known.exported) + 1) - 1)

    def committed(self, collector: str, incarnation: str) -> int:
        """Return the watermark up to which the collector need not keep batches."""
        known = self._incarnations.get((collector, incarnation))
        return known.committed if known else 0

    def received(self, collector: str, incarnation: str) -> int:
        """Return the highest sequence received without a gap."""
        known = self._incarnations.get((collector, incarnation))
        return known.received if known else 0

    def watermarks(self) -> list[Watermark]:
        """Return what is exported, for ``restore`` after a restart."""
        return [
            (*key, known.committed, sorted(known.exported))
            for key, known in self._incarnations.items()
        ]

    def restore(self, watermarks: Iterable[Watermark], now_ns: int = 0) -> None:
        """Take what a predecessor had exported, before the first batch.

        Its collectors have to send a snapshot all the same; what they resend although
        it was exported is a duplicate then. They count as heard now, for ``expire``.
        """
        for collector, incarnation, sequence, exported in watermarks:
            known = _Incarnation(
                now_ns,
                received=sequence,
                committed=sequence,
                ahead=set(exported),
                exported=set(exported),
            )
            self._hear((collector, incarnation), known, now_ns)

    def knows(self, collector: str, incarnation: str) -> bool:
        """Whether an incarnation has been heard and not been forgotten."""
        return (collector, incarnation) in self._incarnations

    def expire(self, heard_before_ns: int) -> list[tuple[str, str]]:
        """Forget incarnations that were last heard before then; return them."""
        silent = [
            key
            for key, known in self._incarnations.items()
            if known.heard_ns < heard_before_ns
        ]
        for key in silent:
            del self._incarnations[key]
        return silent

    def __len__(self) -> int:
        return len(self._incarnations)

    def _seen_snapshot(
        self,
        key: tuple[str, str],
        known: _Incarnation | None,
        header: BatchHeader,
        now_ns: int,
    ) -> Verdict:
        if known is None:
            settled = header.settled
            known = _Incarnation(now_ns, received=settled, committed=settled)
        elif known.snapshot is not None and header.sequence < max(
            known.highest, known.snapshot
        ):
            self._hear(key, known, now_ns)
            self.duplicates += 1
            return DUPLICATE  # older than what has come since: it would undo changes
        known.snapshot = header.sequence
        known.settle(header.settled)
        self._hear(key, known, now_ns)
        return NEW

    def _hear(self, key: tuple[str, str], known: _Incarnation, now_ns: int) -> None:
        known.heard_ns = max(known.heard_ns, now_ns)
        self._incarnations[key] = known
        self._incarnations.move_to_end(key)
        while len(self._incarnations) > self._max_incarnations:
            self._incarnations.popitem(last=False)
