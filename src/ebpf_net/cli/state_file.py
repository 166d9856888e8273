"""The reducer's state on disk: a whole one, then what has changed with each window.

The file is written anew where it has grown to a multiple of what was whole. Each part
has a checksum and the ledger's watermarks: what is behind a part that is cut off or
damaged is not used, and what is before it is the state of then.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ebpf_net.intake.ledger import Watermark

_MAGIC = b"ebpf-net reducer state 3\n"
_FORMER_MAGIC = b"ebpf-net reducer state 2\n"  # one part, without a checksum
_PART = struct.Struct("<QI")  # length, CRC-32
_LENGTH = struct.Struct("<I")
_GROWTH = 2
_LEAST_GROWTH_BYTES = 8 << 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StatePart:
    """What the reducer returned: all of its state, or what has changed in it."""

    data: bytes
    whole: bool


@dataclass(frozen=True)
class Restored:
    """What the file had."""

    watermarks: list[Watermark]
    state: bytes


class StateFile:
    """For one thread at a time.

    A disk that refuses is said once until it takes something, and tried again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = 0
        self._most = 0  # size at which a whole state is due
        self._is_behind = True  # what comes next must be whole
        self._has_asked = False
        self._is_refused = False

    def read(self) -> Restored | None:
        """Return what a predecessor has written. Raises ValueError if it is damaged."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("cannot read %s: %s", self.path, error.strerror)
            return None
        if content.startswith(_FORMER_MAGIC):
            return _unpack(content[len(_FORMER_MAGIC) :])
        if not content.startswith(_MAGIC):
            raise ValueError("not a state file of this version")
        parts, end = _checked_parts(content)
        if not parts:
            raise ValueError("its first part is incomplete")
        if end < len(content):
            logger.warning(
                "%s is damaged: the last %d of %d bytes are not used",
                self.path,
                len(content) - end,
                len(content),
            )
        restored = [_unpack(part) for part in parts]
        state = b"".join(one.state for one in restored)
        return Restored(restored[-1].watermarks, state)

    def asks_for_whole(self) -> bool:
        """Tell whether the next part has to be whole; whoever asks makes that part."""
        wanted = self._is_behind or self._size > self._most
        if not wanted or self._has_asked:
            return False
        self._has_asked = True
        return True

    def write(
        self, watermarks: Sequence[Watermark], parts: Sequence[StatePart]
    ) -> None:
        """Write parts that follow all former ones, as of these watermarks."""
        wholes = [place for place, part in enumerate(parts) if part.whole]
        if wholes:
            parts = parts[wholes[-1] :]
            self._has_asked = False
        elif self._is_behind:
            return  # until there is a whole one
        content = _pack(watermarks, b"".join(part.data for part in parts))
        try:
            if wholes:
                self._replace(content)
            else:
                self._append(content)
            self._is_refused = False
        except OSError as error:
            self._is_behind = True
            self._refuse(error)

    def _replace(self, content: bytes) -> None:
        temporary = self.path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(_MAGIC + content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        self._size = len(_MAGIC) + len(content)
        self._most = _GROWTH * self._size + _LEAST_GROWTH_BYTES
        self._is_behind = False

    def _append(self, content: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(self._size)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._size += len(content)

    def _refuse(self, error: OSError) -> None:
        if not self._is_refused:
            logger.warning(
                "cannot write %s: %s; a restart may count a window twice",
                self.path,
                error.strerror,
            )
        self._is_refused = True


def _pack(watermarks: Sequence[Watermark], state: bytes) -> bytes:
    header = json.dumps(watermarks).encode()
    content = b"".join([_LENGTH.pack(len(header)), header, state])
    return _PART.pack(len(content), zlib.crc32(content)) + content


def _checked_parts(content: bytes) -> tuple[list[bytes], int]:
    """Return the parts that are whole and as they were written, and where they end."""
    parts, end = [], len(_MAGIC)
    while end + _PART.size <= len(content):
        length, checksum = _PART.unpack_from(content, end)
        start = end + _PART.size
        part = content[start : start + length]
        if len(part) < length or zlib.crc32(part) != checksum:
            break
        parts.append(part)
        end = start + length
    return parts, end


def _unpack(part: bytes) -> Restored:
    """Return the watermarks and the state; ValueError or TypeError if damaged."""
    if len(part) < _LENGTH.size:
        raise ValueError("it is too short")
    (length,) = _LENGTH.unpack_from(part)
    rows = json.loads(part[_LENGTH.size : _LENGTH.size + length])
    watermarks = [
        (str(collector), str(incarnation), int(committed), [int(one) for one in beyond])
        for collector, incarnation, committed, beyond in rows
    ]
    return Restored(watermarks, part[_LENGTH.size + length :])
