"""Small files of a host, which may be anything where its root is mounted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_PART_BYTES = 1 << 16


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return a regular file's bytes, at most so many; raises OSError.

    Waits for nobody: what is no regular file is refused.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no regular file")
        return b"".join(_parts(descriptor, max_bytes))
    finally:
        os.close(descriptor)


def _parts(descriptor: int, left: int) -> Iterator[bytes]:
    while left > 0 and (part := os.read(descriptor, min(left, _PART_BYTES))):
        yield part
        left -= len(part)
