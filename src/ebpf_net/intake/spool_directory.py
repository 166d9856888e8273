"""The spool's files: a directory for each incarnation, a file for each batch.

``<number>-<incarnation>/<sequence>-<rows>.batch``: the names alone say what is there,
so that a damaged file is known to the batch and the row. Nothing is synced: a power cut
may damage what was written in the half minute before, a ``kill -9`` damages nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ebpf_net.errors import BatchError, EnvironmentFault
from ebpf_net.intake.batch import Batch
from ebpf_net.intake.batch_record import pack_batch, unpack_batch

_LANE_NAME = re.compile(r"([0-9]{8})-([A-Za-z0-9][A-Za-z0-9_.-]{0,63})")
_FILE_NAME = re.compile(r"([0-9]{20})-([0-9]{10})\.batch")
_SNAPSHOT = "snapshot"
_LOCK = "lock"
_BLOCK = 4096
_MAX_RECORD_BYTES = 1 << 30


@dataclass(frozen=True)
class BatchFile:
    """What a file's name and size say."""

    sequence: int
    rows: int
    size: int


def size_on_disk(size: int) -> int:
    """Return the bytes that a file of this size takes."""
    return -(-size // _BLOCK) * _BLOCK


class SpoolDirectory:
    """The files of all incarnations. Methods raise OSError unless they say else."""

    def __init__(self, path: Path) -> None:
        """Make the directory and lock it.

        Raises EnvironmentFault when another process has it.
        """
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise EnvironmentFault(
                f"another collector keeps its batches in {path}",
                "stop it, or set another EBPF_NET_DATA_DIR",
            ) from None
        self._lanes = dict(self._scan())

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)

    def incarnations(self) -> list[str]:
        """Return the incarnations that have a directory, oldest first."""
        return sorted(self._lanes, key=lambda one: self._lanes[one].name)

    def files(self, incarnation: str) -> list[BatchFile]:
        """Return the batches of an incarnation in order."""
        found = []
        for entry in os.scandir(self._lanes[incarnation]):
            match = _FILE_NAME.fullmatch(entry.name)
            if match:
                size = entry.stat().st_size
                found.append(BatchFile(int(match[1]), int(match[2]), size))
        return sorted(found, key=lambda file: file.sequence)

    def write(self, batch: Batch) -> int:
        """Write a batch and return its size; a part of it is not left behind."""
        lane = self._lane(batch.header.incarnation)
        path = lane / _file_name(batch.header.sequence, batch.rows)
        try:
            return self._write(path, batch)
        except FileNotFoundError:  # somebody cleaned up
            lane.mkdir(mode=0o700, parents=True)
            return self._write(path, batch)

    def read(self, incarnation: str, sequence: int, rows: int) -> Batch:
        """Read a batch; raises BatchError if it is damaged."""
        path = self._lanes[incarnation] / _file_name(sequence, rows)
        batch = self._read(path)
        header = batch.header
        if (header.incarnation, header.sequence) != (incarnation, sequence):
            raise BatchError("record", "another batch than its name says")
        return batch

    def remove(self, incarnation: str, sequence: int, rows: int) -> None:
        """Remove a batch's file, if it is there; never raises."""
        with contextlib.suppress(OSError):
            (self._lanes[incarnation] / _file_name(sequence, rows)).unlink()

    def remove_incarnation(self, incarnation: str) -> None:
        """Remove an incarnation that has no batches left; never raises."""
        lane = self._lanes.pop(incarnation, None)
        if lane is not None:
            with contextlib.suppress(OSError):
                (lane / _SNAPSHOT).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                lane.rmdir()

    def write_snapshot(self, batch: Batch) -> None:
        """Keep a snapshot beside the batches of its incarnation."""
        lane = self._lane(batch.header.incarnation)
        self._write(lane / f"{_SNAPSHOT}.new", batch)
        (lane / f"{_SNAPSHOT}.new").replace(lane / _SNAPSHOT)

    def read_snapshot(self, incarnation: str) -> Batch | None:
        """Return the snapshot of an incarnation, if there is a whole one."""
        lane = self._lanes.get(incarnation)
        if lane is None:
            return None
        try:
            return self._read(lane / _SNAPSHOT)
        except (OSError, BatchError):
            return None

    def _scan(self) -> Iterator[tuple[str, Path]]:
        for path in self._path.iterdir():
            match = _LANE_NAME.fullmatch(path.name)
            if match and path.is_dir():
                yield match[2], path

    def _lane(self, incarnation: str) -> Path:
        lane = self._lanes.get(incarnation)
        if lane is None:
            numbers = [
                int(path.name.partition("-")[0]) for path in self._lanes.values()
            ]
            number = max(numbers, default=0) + 1
            lane = self._path / f"{number:08d}-{incarnation}"
            lane.mkdir(mode=0o700)
            self._lanes[incarnation] = lane
        return lane

    def _write(self, path: Path, batch: Batch) -> int:
        parts = pack_batch(batch)
        try:
            with open(path, "wb", buffering=0, opener=_open_private) as file:
                for part in parts:
                    view = memoryview(part)
                    while view:
                        view = view[file.write(view) :]
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return sum(map(len, parts))

    def _read(self, path: Path) -> Batch:
        with open(path, "rb") as file:
            record = file.read(_MAX_RECORD_BYTES)
        return unpack_batch(record)


def _file_name(sequence: int, rows: int) -> str:
    return f"{sequence:020d}-{rows:010d}.batch"


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
