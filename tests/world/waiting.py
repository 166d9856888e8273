"""Wait for a condition of the outside world, never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable

_POLL_SECONDS = 0.02


def wait_until(
    condition: Callable[[], object],
    timeout_seconds: float,
    describe: Callable[[], object] = lambda: "",
) -> None:
    """Return when ``condition()`` is true; raise TimeoutError with ``describe()``."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {timeout_seconds} s: {describe()}")
        time.sleep(_POLL_SECONDS)
