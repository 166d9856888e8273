"""Things to ask again and again, done by a few threads as they become due.

What fails is done again later and later. Its problems are logged when they are new: the
same ones every minute would say nothing.
"""

from __future__ import annotations

import heapq
import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ebpf_net.collectors.cloud.pace import CallPace
from ebpf_net.collectors.cloud.providers import PartFailed

_JITTER = 0.1
_LARGEST_DELAY_FACTOR = 5
_BUSY_FACTOR = 10
"""What takes a second of processor time is done every ten seconds at most."""

logger = logging.getLogger(__name__)


@dataclass
class Task:
    """What to do, and what came of it the last time. Changed by one thread at a time.

    ``work`` raises PartFailed.
    """

    name: str
    interval_seconds: float
    work: Callable[[CallPace], None]
    pace: CallPace
    retry_seconds: float = math.inf
    """What the interval is at most, while it fails."""
    failures: int = 0
    """In a row, up to now."""
    problems: frozenset[str] = frozenset()
    has_run: bool = False
    end: Callable[[], None] | None = None
    """Set by whoever wants it to be done no more: it is called once, in its place."""


class Tasks:
    """A schedule and its threads. ``put`` and ``stop`` may be called by any thread."""

    def __init__(self, threads: int, stopped: threading.Event) -> None:
        self._count = threads
        self._stopped = stopped
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Task]] = []
        self._number = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        self._threads = [
            threading.Thread(target=self._run, name=f"poll-{number}", daemon=True)
            for number in range(self._count)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, task: Task, seconds: float = 0.0) -> None:
        """Have a task done after so many seconds, and then over and over."""
        with self._changed:
            self._number += 1
            due = time.monotonic() + seconds
            heapq.heappush(self._due, (due, self._number, task))
            self._changed.notify()

    def stop(self) -> None:
        """Ask all threads to end; returns at once."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        """Wait for the threads, which may be in the middle of a call."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (task := self._take()) is not None:
            if task.end is not None:
                task.end()
            else:
                self._do(task)

    def _take(self) -> Task | None:
        """Wait for what is due next; None: the end."""
        with self._changed:
            while not self._stopped.is_set():
                left = self._due[0][0] - time.monotonic() if self._due else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(left)
            return None

    def _do(self, task: Task) -> None:
        """Do a task, and put it where it is done again."""
        started, busy = time.monotonic(), time.thread_time()
        retry_seconds = self._attempt(task)
        if self._stopped.is_set():
            return
        busy = time.thread_time() - busy
        factor = min(2 ** max(0, task.failures - 1), _LARGEST_DELAY_FACTOR)
        seconds = task.interval_seconds
        if task.failures:
            seconds = min(seconds, task.retry_seconds)
        seconds *= factor * random.uniform(1, 1 + _JITTER)
        seconds -= time.monotonic() - started
        self.put(task, max(seconds, busy * _BUSY_FACTOR, retry_seconds))

    def _attempt(self, task: Task) -> float:
        """Do a task; return for how many seconds it must not be done again."""
        task.pace.missing.clear()
        retry_seconds = 0.0
        problems: list[str] = []
        try:
            task.work(task.pace)
            task.failures = 0
        except PartFailed as failure:
            problems.append(_describe(failure))
            retry_seconds = failure.retry_after_seconds
            task.failures += 1
        except Exception as error:  # the other tasks go on
            logger.exception("%s: unexpected failure", task.name)
            problems.append(f"unexpected failure: {type(error).__name__}")
            task.failures += 1
        problems += map(_describe, task.pace.missing)
        if not self._stopped.is_set():
            task.has_run = True
            _tell_problems(task, frozenset(problems))
        return retry_seconds


def _tell_problems(task: Task, problems: frozenset[str]) -> None:
    for problem in sorted(problems - task.problems):
        logger.warning("%s: %s", task.name, problem)
    if task.problems and not problems:
        logger.info("%s: works again", task.name)
    task.problems = problems


def _describe(failure: PartFailed) -> str:
    if failure.missing_permission:
        return f"{failure.reason}; missing permission: {failure.missing_permission}"
    return failure.reason
