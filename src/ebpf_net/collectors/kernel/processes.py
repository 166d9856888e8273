"""The reference table of processes: those that rows speak of, and changes of them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Table = dict[str, npt.NDArray[Any] | Sequence[str]]

_NANOSECONDS_PER_TICK = 10_000_000  # USER_HZ is 100
_PID_BITS = 22  # Linux: PID_MAX_LIMIT is 1 << 22
_MAX_PROCESSES = 16_384
_FORGET_AFTER_WINDOWS = 30  # batches that are resent may still speak of it
_MAX_READS_A_WINDOW = 1000
_START_FIELD = 19  # field 22 of /proc/PID/stat, counted from the one after comm
_DELETED = " (deleted)"


def process_id(pid: int, start_boottime_ns: int) -> int:
    """Return the number that a process has in all tables.

    Its start in clock ticks is field 22 of ``/proc/PID/stat``. 0 where pid is 0.
    """
    if pid == 0:
        return 0
    return start_boottime_ns // _NANOSECONDS_PER_TICK << _PID_BITS | pid


def process_ids(
    pids: npt.NDArray[Any], start_boottime_ns: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Return ``process_id`` of whole columns."""
    ticks = start_boottime_ns.astype(np.int64) // _NANOSECONDS_PER_TICK
    pids = pids.astype(np.int64)
    return np.where(pids == 0, 0, ticks << _PID_BITS | pids)


@dataclass(frozen=True)
class _Row:
    pid: int
    cgroup_id: int
    comm: str
    executable: str
    removed: bool = False


class ProcessTable:
    """Rows of processes, bounded: the one that was not seen for longest goes first."""

    def __init__(
        self,
        proc: Path = Path("/proc"),
        max_processes: int = _MAX_PROCESSES,
        forget_after_windows: int = _FORGET_AFTER_WINDOWS,
    ) -> None:
        self._proc = proc
        self._forget_after_windows = forget_after_windows
        self._max_processes = max_processes
        self._rows: OrderedDict[int, _Row] = OrderedDict()  # by time seen
        self._last_seen: dict[int, int] = {}
        self._changed: dict[int, _Row] = {}
        self._window = 0
        self._reads_left = _MAX_READS_A_WINDOW

    def observe(
        self,
        process_ids: npt.NDArray[np.int64],
        cgroup_ids: npt.NDArray[np.int64],
        comms: npt.NDArray[Any],
    ) -> None:
        """Make rows for the processes of edges that are new."""
        distinct, first = np.unique(process_ids, return_index=True)
        for process, position in zip(distinct.tolist(), first.tolist(), strict=True):
            if not process:
                continue
            comm = bytes(comms[position]).split(b"\0")[0].decode(errors="replace")
            row = self._rows.get(process)
            if row is None:
                self._add(process, int(cgroup_ids[position]), comm)
            elif row.comm != comm:
                self._rename(process, row, comm)

    def sweep(self, in_use: Iterable[int]) -> None:
        """End a window: forget what no edge has spoken of for some windows."""
        self._window += 1
        self._reads_left = _MAX_READS_A_WINDOW
        for process in in_use:
            if process in self._rows:
                self._rows.move_to_end(process)
                self._last_seen[process] = self._window
        oldest = self._window - self._forget_after_windows
        while self._rows:
            process = next(iter(self._rows))
            if self._last_seen[process] > oldest:
                break
            self._remove(process)

    def take_changes(self) -> Table:
        """Return the rows that changed since the last call."""
        changes = _columns(self._changed)
        self._changed = {}
        return changes

    def snapshot(self) -> Table:
        """Return all rows."""
        return _columns(self._rows)

    def _add(self, process: int, cgroup_id: int, comm: str) -> None:
        while len(self._rows) >= self._max_processes:
            self._remove(next(iter(self._rows)))
        pid = process & (1 << _PID_BITS) - 1
        row = _Row(pid, cgroup_id, comm, self._executable(pid, process >> _PID_BITS))
        self._rows[process] = self._changed[process] = row
        self._last_seen[process] = self._window

    def _rename(self, process: int, row: _Row, comm: str) -> None:
        """Follow a process that runs another program now; not one that calls itself
        something else, as the sockets that it had before keep its name of then."""
        executable = self._executable(row.pid, process >> _PID_BITS)
        if executable and executable != row.executable:
            changed = replace(row, comm=comm, executable=executable)
            self._rows[process] = self._changed[process] = changed

    def _remove(self, process: int) -> None:
        row = self._rows.pop(process)
        del self._last_seen[process]
        self._changed[process] = replace(row, removed=True)

    def _executable(self, pid: int, start_ticks: int) -> str:
        """Read the program's path; empty if the process is gone or must not be read."""
        if not self._reads_left:
            return ""
        self._reads_left -= 1
        directory = f"{self._proc}/{pid}"
        try:
            path = os.readlink(f"{directory}/exe")
            with open(f"{directory}/stat", "rb") as file:
                fields = file.read().rpartition(b") ")[2].split()
        except OSError:
            return ""
        if len(fields) <= _START_FIELD or fields[_START_FIELD] != b"%d" % start_ticks:
            return ""
        return os.fsencode(path.removesuffix(_DELETED)).decode(errors="replace")


def _columns(rows: dict[int, _Row] | OrderedDict[int, _Row]) -> Table:
    values = list(rows.values())
    return {
        "process_id": np.array(list(rows), np.int64),
        "pid": np.array([row.pid for row in values], np.int32),
        "cgroup_id": np.array([row.cgroup_id for row in values], np.int64),
        "comm": [row.comm for row in values],
        "executable": [row.executable for row in values],
        "removed": np.array([row.removed for row in values], np.bool_),
    }
