"""Listings that several parts of a subscription look things up in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ebpf_net.collectors.cloud.providers import Budget, PartFailed

_AFTER_FAILURE_SECONDS = 30.0

Listing = TypeVar("Listing")


class Kept(Generic[Listing]):
    """A listing that is made anew when it is older than some seconds. For any thread.

    ``make`` is given the last one. If that fails, the last one goes on to serve.
    """

    def __init__(
        self,
        empty: Listing,
        seconds: float,
        make: Callable[[Budget, Listing], Listing],
    ) -> None:
        self._lock = threading.Lock()
        self._listing = empty
        self._seconds = seconds
        self._make = make
        self._made_at = -float("inf")
        self._not_before = 0.0
        self._failure: PartFailed | None = None
        self._is_there = False

    @property
    def is_lacking(self) -> bool:
        """Whether it could not be made anew the last time."""
        return self._failure is not None

    def get(self, budget: Budget, seconds: float | None = None) -> Listing:
        """Return the listing, at most so many seconds old; do without if need be."""
        self._refresh(budget, self._seconds if seconds is None else seconds)
        failure = self._failure
        if failure is not None:
            budget.do_without(failure)
        return self._listing

    def require(self, budget: Budget) -> Listing:
        """Return the listing. Raises PartFailed if it could not be made anew."""
        self._refresh(budget, self._seconds)
        if self._failure is not None:
            raise self._failure
        return self._listing

    def _refresh(self, budget: Budget, seconds: float) -> None:
        """Make the listing if it is time; while another thread does, take the last."""
        if not self._lock.acquire(blocking=not self._is_there):
            return
        try:
            now = time.monotonic()
            if now >= max(self._made_at + seconds, self._not_before):
                self._attempt(budget, now)
        finally:
            self._lock.release()

    def _attempt(self, budget: Budget, now: float) -> None:
        try:
            self._listing = self._make(budget, self._listing)
            self._failure = None
            self._made_at = now
        except PartFailed as failure:
            self._failure = failure
            pause = self._seconds if failure.missing_permission else 0.0
            self._not_before = now + max(
                pause, failure.retry_after_seconds, _AFTER_FAILURE_SECONDS
            )
        self._is_there = True
