"""The batches of one incarnation, in order of their sequence."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from ebpf_net.intake.batch import Batch

HEAD_BYTES = 2048  # what a batch takes beside its body, roughly


@dataclass
class SpoolEntry:
    """What is known of a batch while it is kept."""

    sequence: int
    rows: int
    batch: Batch | None  # None: on disk only
    disk_size: int = 0  # 0: in memory only

    @property
    def memory_size(self) -> int:
        """Bytes that it takes in memory, roughly."""
        return len(self.batch.body) + HEAD_BYTES if self.batch is not None else 0


@dataclass
class SpoolLane:
    """The batches of one incarnation in order."""

    incarnation: str
    finished: bool  # of an earlier incarnation
    entries: dict[int, SpoolEntry] = field(default_factory=dict)
    sequences: list[int] = field(default_factory=list)  # keys of entries, ascending
    last: int = 0  # highest sequence there ever was
    taken: int = 0  # the present reducer has the batches up to here
    dropped: dict[int, SpoolEntry] = field(default_factory=dict)
    """Dropped although not committed, but taken: lost only if that reducer fails."""

    def insert(self, entry: SpoolEntry) -> None:
        """Take a batch that is not there yet."""
        bisect.insort(self.sequences, entry.sequence)
        self.entries[entry.sequence] = entry
        self.last = max(self.last, entry.sequence)

    def remove(self, sequence: int) -> SpoolEntry:
        """Let a batch go that is there."""
        del self.sequences[bisect.bisect_left(self.sequences, sequence)]
        return self.entries.pop(sequence)

    def after(self, sequence: int) -> SpoolEntry | None:
        """Return the first batch after ``sequence``."""
        index = bisect.bisect_right(self.sequences, sequence)
        if index == len(self.sequences):
            return None
        return self.entries[self.sequences[index]]

    def before(self, sequence: int) -> int:
        """Return the last sequence before that one, or 0."""
        index = bisect.bisect_left(self.sequences, sequence)
        return self.sequences[index - 1] if index else 0
