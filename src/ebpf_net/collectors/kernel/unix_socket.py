"""A connection to a UNIX socket that ends at a time set before, come what may."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class UnixSocket(socket.socket):
    """Connected when made. A peer that sends a byte at a time gains no time by it.

    Raises OSError as sockets do, and TimeoutError when the time is over.
    """

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._deadline = time.monotonic() + timeout_seconds
        try:
            self._limit_wait()
            self.connect(str(path))
        except OSError:
            self.close()
            raise

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive some bytes in the time that is left."""
        self._limit_wait()
        return super().recv(size, flags)

    def recv_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> int:
        """Receive into a buffer in the time that is left."""
        self._limit_wait()
        return super().recv_into(buffer, nbytes, flags)

    def _limit_wait(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)


def find_place(places: tuple[Path, ...]) -> Path | None:
    """Return the first of the places where there is something."""
    return next((path for path in places if path.exists()), None)


def socket_places(paths: tuple[Path, ...], host_dir: Path | None) -> tuple[Path, ...]:
    """Return where to look for sockets: below the host's directory first.

    /var/run is a link to /run, which below another root may point outside it.
    """
    both = []
    for path in paths:
        both.append(path)
        if path.is_relative_to("/var/run"):
            both.append("/run" / path.relative_to("/var/run"))
    if host_dir is None:
        return tuple(both)
    below = [host_dir / path.relative_to("/") for path in both if path.is_absolute()]
    return (*below, *both)
