"""Questions to one container runtime's API, asked beside the main loop."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
)
from ebpf_net.collectors.kernel.unix_socket import find_place

_LOG = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5.0
_MAX_QUESTIONS = 1024
_FIRST_DELAY_SECONDS = 1.0
_LAST_DELAY_SECONDS = 60.0
_MAX_ATTEMPTS = 8

Answer = tuple[ContainerQuestion, ContainerDetails]
Fetch = Callable[[Path, ContainerQuestion, float], ContainerDetails | None]
"""Asks at a socket for a container, in so many seconds; None if it is not known there.

Raises OSError where the runtime is not well, ApiError where this container is not,
and NotAllAskedError.
"""


class ApiError(Exception):
    """A runtime's API did not tell of a container what it should."""


class NotAllAskedError(Exception):
    """A container was not found, but not looked for everywhere: not asked again."""


@dataclass(frozen=True, order=True)
class _Task:
    not_before: float
    number: int  # those of one time in the order they came
    question: ContainerQuestion = field(compare=False)
    attempts: int = 0


class ContainerApi:
    """Asks in a thread of its own; nothing waits for the runtime but that thread.

    The thread starts with the first question. ``places`` are where the runtime's socket
    may be, the best first; until there is something at one of them, nothing is asked.
    A container that cannot be read waits alone; a runtime that is not well is left in
    peace, the longer the more often it fails.
    """

    def __init__(
        self,
        name: str,
        places: tuple[Path, ...],
        fetch: Fetch,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        first_delay_seconds: float = _FIRST_DELAY_SECONDS,
    ) -> None:
        self.name = name
        self._places = places
        self._fetch = fetch
        self._timeout_seconds = timeout_seconds
        self._first_delay_seconds = first_delay_seconds
        self._tasks: list[_Task] = []  # a heap
        self._numbers = itertools.count()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._fresh = 0  # questions that were not tried yet
        self._is_prompt = True
        self._pauses = 0  # failures of the runtime since it was well
        self._paused_until = 0.0
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_told = self._was_there = False
        self.failures = 0
        """Questions without an answer since the start; each is asked again later."""
        self.dropped = 0
        """Questions given up."""
        self.cut = 0
        """Texts and labels of containers that were too long to be told whole."""
        self.not_all_asked = 0
        """Containers not found where only a part could be looked through."""

    def stop(self) -> None:
        """Stop asking; returns at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, timeout_seconds: float) -> None:
        """Wait, after ``stop``, for a question that is on its way."""
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def ask(self, question: ContainerQuestion) -> None:
        """Ask for a container; ``take_answers`` has the answer some time later."""
        if not self._places or self._stopped:
            return
        if self._thread.ident is None:
            self._thread.start()
        with self._changed:
            self._fresh += self._put(time.monotonic(), question)

    def wait_answers(self, timeout_seconds: float) -> None:
        """Wait until new questions were tried, but once for a runtime that is slow."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: not self._fresh or not self._is_prompt, timeout_seconds
            ):
                self._is_prompt = False  # until it settles a question

    def take_answers(self) -> list[Answer]:
        """Return what was answered since the last call."""
        answers = []
        with contextlib.suppress(queue.Empty):
            while True:
                answers.append(self._answers.get_nowait())
        return answers

    def _put(
        self, not_before: float, question: ContainerQuestion, attempts: int = 0
    ) -> bool:
        """Let a question wait for its time, or drop it; for who has the lock."""
        if len(self._tasks) >= _MAX_QUESTIONS:
            self.dropped += 1
            return False
        task = _Task(not_before, next(self._numbers), question, attempts)
        heapq.heappush(self._tasks, task)
        self._changed.notify_all()
        return True

    def _run(self) -> None:
        while (task := self._next()) is not None:
            self._try(task)

    def _next(self) -> _Task | None:
        """Wait for a question whose time has come; None at the end."""
        with self._changed:
            while not self._stopped:
                seconds = self._seconds_to_next()
                if seconds is not None and seconds <= 0:
                    return heapq.heappop(self._tasks)
                self._changed.wait(seconds)
        return None

    def _seconds_to_next(self) -> float | None:
        if not self._tasks:
            return None
        return max(self._paused_until, self._tasks[0].not_before) - time.monotonic()

    def _try(self, task: _Task) -> None:
        failed: Exception | None = None
        try:
            details = self._fetch_details(task.question)
            if details:
                self.cut += details.cut
                self._answers.put((task.question, details))
        except NotAllAskedError:
            self.not_all_asked += 1
        except (OSError, ApiError) as error:
            failed = error
            self._tell(error)
        with self._changed:
            self._fresh -= task.attempts == 0
            self._is_prompt = not isinstance(failed, OSError)
            self._pause(failed)
            if failed:
                self._ask_again(task)
            self._changed.notify_all()

    def _pause(self, failed: Exception | None) -> None:
        """Leave a runtime in peace that is not well; all of its questions wait."""
        if not isinstance(failed, OSError):
            self._pauses = 0
            return
        self._paused_until = time.monotonic() + self._delay(self._pauses)
        self._pauses += 1

    def _ask_again(self, task: _Task) -> None:
        self.failures += 1
        attempts = task.attempts + 1
        if attempts >= _MAX_ATTEMPTS:
            self.dropped += 1
            return
        not_before = time.monotonic() + self._delay(task.attempts)
        self._put(not_before, task.question, attempts)

    def _delay(self, failures: int) -> float:
        step: float = self._first_delay_seconds * 2 ** min(failures, _MAX_ATTEMPTS)
        return min(step, _LAST_DELAY_SECONDS)

    def _fetch_details(self, question: ContainerQuestion) -> ContainerDetails | None:
        path = find_place(self._places)
        if path is None:
            if self._was_there:
                raise FileNotFoundError("its socket is gone")
            return None  # there is no such runtime here
        self._was_there = True
        return self._fetch(path, question, self._timeout_seconds)

    def _tell(self, error: Exception) -> None:
        if not self._is_told:
            self._is_told = True
            _LOG.warning(
                "%s cannot be asked for names of containers: %s; it is asked again, "
                "and meanwhile they have their ids",
                self.name,
                error,
            )
