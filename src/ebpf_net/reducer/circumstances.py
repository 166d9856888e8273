"""What the matching of a window must know besides its rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ebpf_net.reducer.memory import RECENT_WINDOWS


class Moment(Enum):
    """When rows are matched."""

    ON_TIME = "on time"
    LATE = "late"  # their window has been reduced before
    RELEASED = "released"  # server's rows whose client did not come


@dataclass(frozen=True)
class Circumstances:
    """What the matching of one window must know besides its rows.

    ``live`` are the sources that still report; ``gapped`` those whose collector was
    away for a part of this window, so that their rows tell less than there was.
    ``whole`` are those that have told all of this window: what they have no row of,
    they did not see. None: it is too long ago to know. ``held_number`` and
    ``held_whole`` are the same of the window that rows are held of. ``restarted`` are
    those of ``gapped`` that have been there before. ``told`` have told anything of this
    window, and ``crossed`` are of collectors that were there when it began.
    """

    number: int
    moment: Moment
    live: frozenset[int] = frozenset()
    gapped: frozenset[int] = frozenset()
    whole: frozenset[int] | None = frozenset()
    held_number: int = 0
    held_whole: frozenset[int] | None = frozenset()
    restarted: frozenset[int] = frozenset()
    told: frozenset[int] = frozenset()
    crossed: frozenset[int] = frozenset()


def recent_windows(now: Circumstances) -> range:
    """Return the windows of which the other end is looked for, the newest first."""
    # What comes after its window finds the window after it in memory, too.
    newest = now.number + (now.moment is not Moment.ON_TIME)
    return range(newest, now.number - RECENT_WINDOWS, -1)
