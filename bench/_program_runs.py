"""How often the kernel ran a process's BPF programs, and for how long.

The kernel counts while somebody holds the file that BPF_ENABLE_STATS gives: so nothing
has to be set back, and the counts of other processes' programs are not disturbed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BPF_CALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351}
_PROGRAM_BY_ID = 13
_INFO_BY_FILE = 15
_ENABLE_STATS = 32
_INFO_BYTES = 208
_NAME = slice(64, 80)  # of struct bpf_prog_info
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Runs:
    """What a program did; times include what it costs to take them."""

    count: int = 0
    nanoseconds: int = 0

    def __sub__(self, before: Runs) -> Runs:
        return Runs(self.count - before.count, self.nanoseconds - before.nanoseconds)

    def __add__(self, other: Runs) -> Runs:
        return Runs(self.count + other.count, self.nanoseconds + other.nanoseconds)

    @property
    def ns_per_run(self) -> float | None:
        """Return the mean."""
        return round(self.nanoseconds / self.count, 1) if self.count else None


@contextmanager
def counted_runs() -> Iterator[None]:
    """Have the kernel count."""
    statistics = _bpf(_ENABLE_STATS, struct.pack("=I", 0))
    try:
        yield
    finally:
        os.close(statistics)


class Programs:
    """The programs that a process has loaded, by name."""

    def __init__(self, pid: int) -> None:
        self._files = {
            _program_name(_field(file, "prog_id")): file for file in _program_files(pid)
        }

    def read(self) -> dict[str, Runs]:
        """Return all that was counted so far."""
        return {
            name: Runs(_field(file, "run_cnt"), _field(file, "run_time_ns"))
            for name, file in self._files.items()
        }


def runs_between(
    before: dict[str, Runs], after: dict[str, Runs], prefix: str = ""
) -> dict[str, Runs]:
    """Return what was counted between two reads, of programs named so."""
    return {
        name: runs - before.get(name, Runs())
        for name, runs in after.items()
        if name.startswith(prefix)
    }


def sum_runs(runs: dict[str, Runs]) -> Runs:
    """Add up."""
    return sum(runs.values(), Runs())


def _program_files(pid: int) -> Iterator[Path]:
    """Find the process's descriptors of programs."""
    for file in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda one: one.name):
        try:
            if os.readlink(file) == "anon_inode:bpf-prog":
                yield Path(f"/proc/{pid}/fdinfo/{file.name}")
        except FileNotFoundError:
            continue


def _field(file: Path, name: str) -> int:
    fields = dict(line.split(":", 1) for line in file.read_text().splitlines())
    return int(fields[name])


def _program_name(program_id: int) -> str:
    """Ask the kernel; it keeps 15 characters."""
    program = _bpf(_PROGRAM_BY_ID, struct.pack("=IIII", program_id, 0, 0, 0))
    try:
        info = ctypes.create_string_buffer(_INFO_BYTES)
        address = ctypes.addressof(info)
        _bpf(_INFO_BY_FILE, struct.pack("=IIQ", program, _INFO_BYTES, address))
        return info.raw[_NAME].rstrip(b"\0").decode()
    finally:
        os.close(program)


def _bpf(command: int, attributes: bytes) -> int:
    number = _BPF_CALL[platform.machine()]
    result = int(_libc.syscall(number, command, attributes, len(attributes)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf command {command}: {os.strerror(code)}")
    return result
