"""How fast one API is called: slower when it says so, and again after a while.

A limit of calls belongs to an account and region, which others use as well. So nothing
is held back until the API complains; from then on calls keep a distance, which grows
with each complaint and shrinks with each answer.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ebpf_net.collectors.cloud.providers import Answer, CallFailed, PartFailed

_FIRST_DISTANCE_SECONDS = 0.1
_NO_DISTANCE_SECONDS = 0.01
_SHRINKING = 0.9


@dataclass(frozen=True)
class PaceOptions:
    """How long to wait, and how often to try."""

    tries: int = 5
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 30.0
    """Who asks for a longer one is left alone until then."""
    longest_distance_seconds: float = 10.0


class CallCounter:
    """Counts calls of all parts; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: dict[int, int] = {}
        self.calls = 0
        self.throttled = 0
        self.failed = 0

    def count_call(self) -> None:
        """Count one call, whatever its answer."""
        minute = int(time.monotonic() // 60)
        with self._lock:
            self.calls += 1
            self._minutes[minute] = self._minutes.get(minute, 0) + 1
            for past in [one for one in self._minutes if one <= minute - 60]:
                del self._minutes[past]

    def count_failure(self, *, throttled: bool) -> None:
        """Count an answer that was none."""
        with self._lock:
            self.failed += 1
            self.throttled += throttled

    def status(self) -> dict[str, int]:
        """Return the counters; the last hour's calls are by whole minutes."""
        oldest = int(time.monotonic() // 60) - 60
        with self._lock:
            last_hour = sum(n for minute, n in self._minutes.items() if minute > oldest)
            return {
                "cloud.calls": self.calls,
                "cloud.calls_last_hour": last_hour,
                "cloud.calls_failed": self.failed,
                "cloud.calls_throttled": self.throttled,
            }


class CallPace:
    """The calls of one part, or of one provider; a Budget. For one thread at a time.

    ``missing`` are the failures that the last fetch did without.
    """

    def __init__(
        self, counter: CallCounter, stopped: threading.Event, options: PaceOptions
    ) -> None:
        self.missing: list[PartFailed] = []
        self._counter = counter
        self._stopped = stopped
        self._options = options
        self._distance = 0.0
        self._next_call = 0.0

    def call(self, operation: str, request: Callable[[], Answer]) -> Answer:
        """Make one API call; see Budget."""
        options = self._options
        for number in range(options.tries):
            self._wait(self._next_call - time.monotonic())
            self._counter.count_call()
            self._next_call = time.monotonic() + self._distance
            try:
                answer = request()
            except CallFailed as failure:
                self._slow_down(failure)
                wait = options.first_wait_seconds * 2**number * random.uniform(0.5, 1)
                wait = max(wait, failure.retry_after_seconds)
                is_last = number == options.tries - 1
                if is_last or wait > options.longest_wait_seconds:
                    reason = f"{operation}: {failure.reason}"
                    raise PartFailed(
                        reason, retry_after_seconds=failure.retry_after_seconds
                    ) from failure
                self._next_call = time.monotonic() + wait
            else:
                self._speed_up()
                return answer
        raise AssertionError

    def do_without(self, failure: PartFailed) -> None:
        """Note what is missing; see Budget."""
        self.missing.append(failure)

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(max(0.0, seconds)):
            raise PartFailed("the collector ends")

    def _slow_down(self, failure: CallFailed) -> None:
        self._counter.count_failure(throttled=failure.throttled)
        if failure.throttled:
            doubled = max(_FIRST_DISTANCE_SECONDS, self._distance * 2)
            self._distance = min(doubled, self._options.longest_distance_seconds)

    def _speed_up(self) -> None:
        self._distance *= _SHRINKING
        if self._distance < _NO_DISTANCE_SECONDS:
            self._distance = 0.0
