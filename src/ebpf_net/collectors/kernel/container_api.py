"""Questions to one container runtime's API, asked beside the main loop."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
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

Raises ApiError for all that may be well later.
"""


class ApiError(Exception):
    """A runtime's API did not answer, or not with what it should."""


@dataclass(frozen=True)
class _Task:
    question: ContainerQuestion
    attempts: int = 0


class ContainerApi:
    """Asks in a thread of its own; nothing waits for the runtime but that thread.

    The thread starts with the first question. ``places`` are where the runtime's socket
    may be, the best first; until there is something at one of them, nothing is asked.
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
        self._tasks: queue.Queue[_Task | None] = queue.Queue(_MAX_QUESTIONS)
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._fresh = 0  # questions that were not tried yet
        self._is_prompt = True
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_told = self._was_there = False
        self.failures = 0
        """Questions without an answer since the start; each is asked again later."""
        self.dropped = 0
        """Questions given up."""

    def stop(self) -> None:
        """Stop asking; returns at once."""
        self._stopped.set()
        with contextlib.suppress(queue.Full):
            self._tasks.put_nowait(None)

    def join(self, timeout_seconds: float) -> None:
        """Wait, after ``stop``, for a question that is on its way."""
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def ask(self, question: ContainerQuestion) -> None:
        """Ask for a container; ``take_answers`` has the answer some time later."""
        if not self._places or self._stopped.is_set():
            return
        if self._thread.ident is None:
            self._thread.start()
        try:
            with self._changed:
                self._tasks.put_nowait(_Task(question))
                self._fresh += 1
        except queue.Full:
            self.dropped += 1

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

    def _run(self) -> None:
        while not self._stopped.is_set():
            task = self._tasks.get()
            if task is None or self._stopped.is_set():
                return
            if not self._try(task):
                self._ask_again(task)

    def _try(self, task: _Task) -> bool:
        """Say whether the question is settled."""
        is_settled = True
        try:
            details = self._fetch_details(task.question)
            if details:
                self._answers.put((task.question, details))
        except (OSError, ApiError) as error:
            is_settled = False
            self.failures += 1
            self._tell(error)
        with self._changed:
            self._fresh -= task.attempts == 0
            self._is_prompt = is_settled
            self._changed.notify_all()
        return is_settled

    def _fetch_details(self, question: ContainerQuestion) -> ContainerDetails | None:
        path = find_place(self._places)
        if path is None:
            if self._was_there:
                raise ApiError("its socket is gone")
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

    def _ask_again(self, task: _Task) -> None:
        attempts = task.attempts + 1
        if attempts >= _MAX_ATTEMPTS:
            self.dropped += 1
            return
        # The runtime is not well: the others in the queue wait too.
        delay = self._first_delay_seconds * 2**task.attempts
        self._stopped.wait(min(delay, _LAST_DELAY_SECONDS))
        try:
            self._tasks.put_nowait(_Task(task.question, attempts))
        except queue.Full:
            self.dropped += 1
