"""Keeps batches until they are committed: in memory and, as soon as may be, on disk.

Everything is written, so that a ``kill -9`` of the collector loses the running window
and what was submitted in the milliseconds before it, no more. Memory only saves the
reading. Over a limit the oldest there (on disk, or in memory where the disk refuses) is
dropped and counted. What earlier incarnations left is found at the start, and first.
"""

from __future__ import annotations

import bisect
import errno
import itertools
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ebpf_net.errors import BatchError
from ebpf_net.intake.batch import Batch
from ebpf_net.intake.spool_directory import SpoolDirectory, size_on_disk
from ebpf_net.intake.spool_lane import HEAD_BYTES, SpoolEntry, SpoolLane

_LOG_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpoolOptions:
    """Bounds. Without a directory, or with no bytes for it, all stays in memory."""

    directory: Path | None = None
    memory_bytes: int = 16 << 20
    disk_bytes: int = 256 << 20
    max_batches: int = 20_000


class Spool:
    """For any thread. ``add`` never waits for the disk; ``write`` and ``next`` may."""

    def __init__(self, options: SpoolOptions) -> None:
        """Open the directory; raises EnvironmentFault if another collector has it."""
        self._options = options
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._lanes: dict[str, SpoolLane] = {}
        self._unwritten: deque[tuple[SpoolLane, SpoolEntry]] = deque()
        self._cached: deque[SpoolEntry] = deque()  # in memory and on disk
        self._memory_bytes = 0
        self._disk_bytes = 0
        self._disk_works = True
        self._logged = -_LOG_SECONDS
        self._counts: Counter[str] = Counter()
        self._directory = self._open()

    def add(self, batch: Batch) -> None:
        """Keep a batch in memory until ``write``; drop the oldest if it is too much."""
        header = batch.header
        with self._lock:
            lane = self._lanes.get(header.incarnation)
            if lane is None:
                lane = SpoolLane(header.incarnation, finished=False)
                self._lanes[header.incarnation] = lane
            if header.sequence in lane.entries:
                return
            entry = SpoolEntry(header.sequence, batch.rows, batch)
            lane.insert(entry)
            self._memory_bytes += entry.memory_size
            self._unwritten.append((lane, entry))
            dropped = self._shrink()
        self._remove_files(dropped)

    def write(self) -> bool:
        """Write what is in memory only; whether all of it is on disk now."""
        if self._directory is None:
            return False
        with self._write_lock:
            while True:
                with self._lock:
                    if not self._unwritten:
                        self._disk_works = True
                        return True
                    lane, entry = self._unwritten[0]
                    batch = entry.batch
                    if batch is None or self._is_too_large(batch):
                        self._unwritten.popleft()
                        continue
                if not self._write_one(lane, entry, batch):
                    return False

    def next(self, incarnation: str, after: int) -> Batch | None:
        """Return the batch that follows in an incarnation; damaged ones are skipped.

        Raises OSError when the disk cannot be read just now.
        """
        while True:
            with self._lock:
                lane = self._lanes.get(incarnation)
                entry = lane.after(after) if lane is not None else None
                if lane is None or entry is None:
                    return None
                if entry.batch is not None:
                    return entry.batch
                if self._directory is None:
                    return None  # closed; a successor will find it
            batch = self._read(lane, entry)
            if batch is not None:
                return batch

    def incarnations(self) -> list[str]:
        """Return the incarnations that have batches, oldest first."""
        with self._lock:
            return [lane.incarnation for lane in self._lanes.values() if lane.entries]

    def settled(self, incarnation: str) -> int:
        """Return the sequence up to which nothing is kept any more."""
        with self._lock:
            lane = self._lanes.get(incarnation)
            if lane is None:
                return 0
            return lane.sequences[0] - 1 if lane.sequences else lane.last

    def previous(self, incarnation: str, sequence: int) -> int:
        """Return the last sequence before that one which is kept, or 0."""
        with self._lock:
            lane = self._lanes.get(incarnation)
            return lane.before(sequence) if lane is not None else 0

    def last(self, incarnation: str) -> int:
        """Return the highest sequence there has been."""
        with self._lock:
            lane = self._lanes.get(incarnation)
            return lane.last if lane is not None else 0

    def is_finished(self, incarnation: str) -> bool:
        """Whether the incarnation was an earlier one's."""
        with self._lock:
            lane = self._lanes.get(incarnation)
            return lane is None or lane.finished

    def commit(self, incarnation: str, sequence: int) -> None:
        """Forget the batches up to ``sequence``."""
        with self._lock:
            lane = self._lanes.get(incarnation)
            if lane is None:
                return
            count = bisect.bisect_right(lane.sequences, sequence)
            for one in [one for one in lane.dropped if one <= sequence]:
                del lane.dropped[one]
            removed = [
                (lane, self._forget(lane, one)) for one in lane.sequences[:count]
            ]
        self._remove_files(removed)
        self._remove_lane(lane)

    def take(self, incarnation: str, sequence: int) -> None:
        """Note that the reducer has taken the batches up to ``sequence``, not more."""
        with self._lock:
            lane = self._lanes.get(incarnation)
            if lane is None:
                return
            lane.taken = sequence
            for one in [one for one in lane.dropped if one > sequence]:
                self._count("spool_full", lane.dropped.pop(one))

    def refuse(self, incarnation: str, sequence: int) -> None:
        """Drop a batch that the reducer will never take, and count it."""
        self._drop(incarnation, sequence, "refused")

    def keep_snapshot(self, batch: Batch) -> None:
        """Keep a snapshot on disk for the incarnation's successor."""
        try:
            with self._write_lock:
                if self._directory is not None:
                    self._directory.write_snapshot(batch)
        except OSError as error:
            self._warn(error)

    def snapshot(self, incarnation: str) -> Batch | None:
        """Return the snapshot that was kept for an incarnation."""
        directory = self._directory
        return directory.read_snapshot(incarnation) if directory is not None else None

    def counters(self) -> dict[str, int]:
        """Return what was lost since the start, and what is kept now."""
        with self._lock:
            lost = {
                f"lost.{reason}{unit}": self._counts[f"{reason}{unit}"]
                for reason in ("spool_full", "spool_damaged", "refused")
                for unit in ("", "_rows")
            }
            batches = sum(len(lane.entries) for lane in self._lanes.values())
            return lost | {
                "spool.batches": batches,
                "spool.memory_bytes": self._memory_bytes,
                "spool.disk_bytes": self._disk_bytes,
            }

    def close(self) -> None:
        """Write what can be written and leave the directory to the next one."""
        self.write()
        if self._directory is None:
            return
        with self._write_lock:
            directory, self._directory = self._directory, None
            for incarnation in directory.incarnations():
                lane = self._lanes.get(incarnation)
                if lane is None or not lane.entries:
                    directory.remove_incarnation(incarnation)
            directory.close()

    def _open(self) -> SpoolDirectory | None:
        options = self._options
        if options.directory is None or options.disk_bytes <= 0:
            return None
        try:
            directory = SpoolDirectory(options.directory)
            for incarnation in directory.incarnations():
                self._recover(directory, incarnation)
        except OSError as error:
            self._warn(error)
            return None
        return directory

    def _recover(self, directory: SpoolDirectory, incarnation: str) -> None:
        lane = SpoolLane(incarnation, finished=True)
        for file in directory.files(incarnation):
            size = size_on_disk(max(file.size, 1))
            lane.insert(SpoolEntry(file.sequence, file.rows, None, size))
            self._disk_bytes += size
        if lane.entries:
            self._lanes[incarnation] = lane
        else:
            directory.remove_incarnation(incarnation)

    def _write_one(self, lane: SpoolLane, entry: SpoolEntry, batch: Batch) -> bool:
        """Write one batch, the head of ``_unwritten``; whether that went well."""
        directory = self._directory
        if directory is None:
            return False
        with self._lock:
            dropped = self._make_room(_room(batch))
        self._remove_files(dropped)
        try:
            size = directory.write(batch)
        except OSError as error:
            self._disk_works = False
            self._warn(error)
            return False
        with self._lock:
            self._take_unwritten(entry)
            kept = lane.entries.get(entry.sequence) is entry
            if kept:
                entry.disk_size = size_on_disk(size)
                self._disk_bytes += entry.disk_size
                self._cached.append(entry)
                self._release()
        if not kept:
            directory.remove(lane.incarnation, entry.sequence, entry.rows)
        return True

    def _take_unwritten(self, entry: SpoolEntry) -> None:
        if self._unwritten and self._unwritten[0][1] is entry:
            self._unwritten.popleft()

    def _read(self, lane: SpoolLane, entry: SpoolEntry) -> Batch | None:
        directory = self._directory
        if directory is None:
            return None
        try:
            return directory.read(lane.incarnation, entry.sequence, entry.rows)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EIO):
                raise
        except BatchError:
            pass
        self._drop(lane.incarnation, entry.sequence, "spool_damaged")
        logger.warning(
            "batch %d of %s is damaged on disk and left out",
            entry.sequence,
            lane.incarnation,
        )
        return None

    def _drop(self, incarnation: str, sequence: int, reason: str) -> None:
        with self._lock:
            lane = self._lanes.get(incarnation)
            if lane is None or sequence not in lane.entries:
                return
            entry = self._forget(lane, sequence)
            self._count(reason, entry)
        self._remove_files([(lane, entry)])
        self._remove_lane(lane)

    # The methods below are called with the lock held.

    def _forget(self, lane: SpoolLane, sequence: int) -> SpoolEntry:
        entry = lane.remove(sequence)
        self._memory_bytes -= entry.memory_size
        self._disk_bytes -= entry.disk_size
        entry.batch = None
        return entry

    def _count(self, reason: str, entry: SpoolEntry) -> None:
        self._counts[reason] += 1
        self._counts[f"{reason}_rows"] += entry.rows

    def _release(self) -> None:
        """Forget the bodies of written batches while memory is over its limit."""
        limit = self._options.memory_bytes
        while self._cached and (
            self._memory_bytes > limit or self._cached[0].batch is None
        ):
            entry = self._cached.popleft()
            self._memory_bytes -= entry.memory_size
            entry.batch = None

    def _is_too_large(self, batch: Batch) -> bool:
        return _room(batch) > self._options.disk_bytes

    def _shrink(self) -> list[tuple[SpoolLane, SpoolEntry]]:
        """Drop the oldest until memory and number are within their limits."""
        self._release()
        dropped = []
        works = self._directory is not None and self._disk_works
        limit = self._options.memory_bytes * (2 if works else 1)
        while self._memory_bytes > limit and len(self._unwritten) > 1:
            lane, entry = self._unwritten.popleft()
            if lane.entries.get(entry.sequence) is entry:
                dropped.append(self._drop_full(lane, entry))
        count = sum(len(lane.entries) for lane in self._lanes.values())
        surplus = max(count - self._options.max_batches, 0)
        everything = self._oldest_first()
        dropped += [
            self._drop_full(lane, entry)
            for lane, entry in list(itertools.islice(everything, surplus))
        ]
        return dropped

    def _make_room(self, size: int) -> list[tuple[SpoolLane, SpoolEntry]]:
        """Drop the oldest on disk until ``size`` more bytes are within the limit."""
        surplus = self._disk_bytes + size - self._options.disk_bytes
        chosen = []
        for lane, entry in self._oldest_first():
            if surplus <= 0:
                break
            if entry.disk_size:
                surplus -= entry.disk_size
                chosen.append((lane, entry))
        return [self._drop_full(lane, entry) for lane, entry in chosen]

    def _oldest_first(self) -> Iterator[tuple[SpoolLane, SpoolEntry]]:
        for lane in self._lanes.values():
            for sequence in lane.sequences:
                yield lane, lane.entries[sequence]

    def _drop_full(
        self, lane: SpoolLane, entry: SpoolEntry
    ) -> tuple[SpoolLane, SpoolEntry]:
        if entry.sequence <= lane.taken:
            lane.dropped[entry.sequence] = entry
        else:
            self._count("spool_full", entry)
        return lane, self._forget(lane, entry.sequence)

    # The methods below are called without the lock.

    def _remove_files(self, removed: list[tuple[SpoolLane, SpoolEntry]]) -> None:
        directory = self._directory
        if directory is None:
            return
        for lane, entry in removed:
            if entry.disk_size:
                directory.remove(lane.incarnation, entry.sequence, entry.rows)

    def _remove_lane(self, lane: SpoolLane) -> None:
        """Remove an earlier incarnation once it has no batches."""
        with self._lock:
            if not lane.finished or lane.entries:
                return
            self._lanes.pop(lane.incarnation, None)
        if self._directory is not None:
            self._directory.remove_incarnation(lane.incarnation)

    def _warn(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._logged >= _LOG_SECONDS:
            self._logged = now
            logger.warning("batches stay in memory: cannot write them: %s", error)


def _room(batch: Batch) -> int:
    return size_on_disk(len(batch.body) + HEAD_BYTES)
