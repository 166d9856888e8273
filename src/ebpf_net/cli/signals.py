"""What SIGTERM and SIGINT do: first an orderly end, then an end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_at_signals(stop: Callable[[], object]) -> None:
    """Call ``stop`` at the first signal; the second one ends the process at once."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        stop()

    for number in _SIGNALS:
        signal.signal(number, handle)
