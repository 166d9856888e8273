"""Waits that other threads may end."""

from __future__ import annotations

import threading


class Pauses:
    """``stop`` ends all waits, ``wake`` the one that lasts; for any thread."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._wake = threading.Event()

    @property
    def stopped(self) -> threading.Event:
        """Set for good by ``stop``, for whoever waits for that alone."""
        return self._stopped

    def stop(self) -> None:
        """End this wait and all to come."""
        self._stopped.set()
        self._wake.set()

    def wake(self) -> None:
        """End the wait that lasts, or else the next one."""
        self._wake.set()

    def pause(self, seconds: float) -> None:
        """Wait for so long, or until it is ended."""
        self._wake.wait(seconds)
        if not self._stopped.is_set():
            self._wake.clear()
