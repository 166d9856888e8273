"""The directory under EBPF_NET_DATA_DIR: made when missing, used by one copy only."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebpf_net.errors import EnvironmentFault


@contextmanager
def locked_data_directory(path: Path, command: str) -> Iterator[Path]:
    """Hold ``path`` for ``command`` until the block ends, or the process dies.

    Raises EnvironmentFault when the directory cannot be made or written, or when
    another copy of the command has it.
    """
    lock = path / f"{command}.lock"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot use the data directory {path}: {error.strerror}",
            "run as root, or set EBPF_NET_DATA_DIR to a directory that can be written",
        ) from None
    try:
        _take(descriptor, path, command)
        yield path
    finally:
        os.close(descriptor)


def check_writable(path: Path) -> None:
    """Raise EnvironmentFault where ``path`` cannot be written with the rights left."""
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        raise EnvironmentFault(
            f"the data directory {path} is another user's",
            "set EBPF_NET_DATA_DIR to a directory of the user that runs this",
        )


def _take(descriptor: int, path: Path, command: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        raise EnvironmentFault(
            f"another {command} with process id {owner} already uses {path}",
            "stop it, or set another EBPF_NET_DATA_DIR",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
