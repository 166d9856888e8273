"""Bearer tokens in a file that is read again when it changes."""

from __future__ import annotations

import hmac
from pathlib import Path

from ebpf_net.errors import SettingError


class TokenFile:
    """The tokens of a file, one a line. A client sends the first, a server takes any.

    To change a token without a refused request, the server's file has both for a while.
    A file that is unreadable for a moment leaves the tokens as they were.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._tokens: tuple[str, ...] = ()
        try:
            self._read()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"cannot read the token file {path}: {error}") from error
        if not self._tokens:
            raise SettingError(f"the token file {path} is empty")

    def first(self) -> str:
        """Return the token to send."""
        return self._current()[0]

    def allows(self, token: str) -> bool:
        """Whether the file has this token, in time that says nothing about it."""
        given = token.encode()
        matches = [
            hmac.compare_digest(given, known.encode()) for known in self._current()
        ]
        return any(matches)

    def _current(self) -> tuple[str, ...]:
        try:
            self._read()
        except (OSError, UnicodeDecodeError):
            return self._tokens  # being replaced just now
        return self._tokens

    def _read(self) -> None:
        status = self._path.stat()
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        if version == self._version:
            return
        lines = self._path.read_text("ascii").splitlines()
        tokens = tuple(line.strip() for line in lines if line.strip())
        if tokens:
            self._tokens, self._version = tokens, version
