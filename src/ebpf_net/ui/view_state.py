"""What the user has asked of the live table, and what each key changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

SORT_KEYS: dict[str, str] = {
    "b": "bytes",
    "p": "packets",
    "r": "rtt",
    "t": "retransmits",
    "n": "new",
    "a": "active",
    "f": "failures",
}
ENTER, ESCAPE, BACKSPACE, CLEAR = "\r", "\x1b", "\x7f", "\x15"
_MAX_FILTER = 200


@dataclass(frozen=True)
class ViewState:
    """The order, the filter and the mode of the table."""

    order: str = "bytes"
    filter: str = ""
    is_typing: bool = False
    is_paused: bool = False
    shows_help: bool = False
    quits: bool = False

    def press(self, key: str) -> ViewState:
        """Return the state after a key: one character, ENTER, ESCAPE or BACKSPACE."""
        if self.is_typing:
            return self._type(key)
        if self.shows_help:
            return replace(self, shows_help=False, quits=key == "q")
        return replace(
            self,
            order=SORT_KEYS.get(key, self.order),
            filter="" if key == ESCAPE else self.filter,
            is_typing=key == "/",
            is_paused=self.is_paused != (key == " "),
            shows_help=key == "?",
            quits=key == "q",
        )

    def _type(self, key: str) -> ViewState:
        if key in (ENTER, "\n"):
            return replace(self, is_typing=False)
        if key == ESCAPE:
            return replace(self, is_typing=False, filter="")
        if key in (BACKSPACE, "\x08"):
            return replace(self, filter=self.filter[:-1])
        if key == CLEAR:
            return replace(self, filter="")
        if key.isprintable() and len(self.filter) < _MAX_FILTER:
            return replace(self, filter=self.filter + key)
        return self
