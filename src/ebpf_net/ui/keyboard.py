"""Keys as they are pressed, and the terminal put back as it was."""

from __future__ import annotations

import codecs
import re
import termios
from types import TracebackType
from typing import Any

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.)")
"""What arrows and function keys send (ECMA-48, section 5.4): none of them means
anything here."""
_INPUT_FLAGS, _LOCAL_FLAGS, _CONTROL_CHARACTERS = 0, 3, 6  # of termios.tcgetattr


class CbreakMode:
    """A terminal that gives each key at once and does not show it.

    Ctrl-C still interrupts. Ctrl-Z does nothing: it would leave the terminal like this.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[Any] | None = None

    def __enter__(self) -> CbreakMode:
        self._before = termios.tcgetattr(self._descriptor)
        changed = termios.tcgetattr(self._descriptor)
        changed[_LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON)
        characters = list(changed[_CONTROL_CHARACTERS])
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        characters[termios.VSUSP] = b"\x00"
        changed[_CONTROL_CHARACTERS] = characters
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, changed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
            self._before = None


class KeyDecoder:
    """Bytes of a terminal to keys."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> list[str]:
        """Return the keys of what one read gave, one character each."""
        return list(_SEQUENCE.sub("", self._utf8.decode(data)))
