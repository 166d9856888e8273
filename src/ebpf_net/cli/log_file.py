"""A rotating log file that several programs of a host may share.

Who finds it full renames it under a lock; the others see that the name belongs to
another file now, and go on there. A file that another program has moved away, as
logrotate does, is made anew.
"""

from __future__ import annotations

import fcntl
import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path


class SharedLogFile(RotatingFileHandler):
    """Appends lines to a file of at most ``max_bytes``, beside ``backups`` old ones."""

    def __init__(self, path: Path, max_bytes: int, backups: int) -> None:
        """Open the file; raises OSError."""
        super().__init__(
            path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8"
        )

    def shouldRollover(self, record: logging.LogRecord) -> int:  # noqa: N802
        """Whether the file, which others may have written or moved, is full."""
        self._follow()
        return super().shouldRollover(record)

    def doRollover(self) -> None:  # noqa: N802
        """Rename the file, unless another program has done so meanwhile."""
        # flock belongs to the open file, so the copy holds it while the stream is
        # closed and the file renamed.
        if self.stream is None:  # as after ``close``
            self.stream = self._open()
        lock = os.dup(self.stream.fileno())
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._follow():
                self._rotate()
        finally:
            os.close(lock)

    def _rotate(self) -> None:
        try:
            super().doRollover()
        except OSError:  # the file may be written, but not its directory
            self.maxBytes = 0
            self.stream = self._open()

    def _follow(self) -> bool:
        """Open the file that has the name now; False if it is the same one."""
        if self.stream is None:
            return False
        status = os.fstat(self.stream.fileno())
        try:
            named = os.stat(self.baseFilename)
            if os.path.samestat(status, named):
                return False
        except FileNotFoundError:
            pass
        except OSError:
            return False
        try:
            stream = self._open()
        except OSError:
            return False
        self.stream.close()
        self.stream = stream
        return True
