"""Names as a terminal may show them.

A process chooses its own name, so a name may hold escape sequences, line ends or marks
that turn the direction of writing. What cannot be printed is shown as its escape.
"""

from __future__ import annotations

import numpy as np

from ebpf_net.ui.text_columns import TextColumn, matches, put, take, values


def safe_text(text: str) -> str:
    """Return ``text`` with each unprintable character as ``\\x1b`` or ``\\u202e``."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def safe_column(names: TextColumn) -> TextColumn:
    """Return a column with each value as ``safe_text`` has it.

    Only values that are not plain ASCII are looked at one by one.
    """
    doubtful = matches(names, r"[^\x20-\x7e]")
    if not doubtful.any():
        return names
    found = values(take(names, np.flatnonzero(doubtful)))
    return put(names, doubtful, [safe_text(name) for name in found])
