"""Asks providers which parts there are, and each part what it has, over and over."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ebpf_net.collectors.cloud.inventory import Inventory
from ebpf_net.collectors.cloud.pace import CallCounter, CallPace, PaceOptions
from ebpf_net.collectors.cloud.providers import Part, PartKey, Provider
from ebpf_net.collectors.cloud.tasks import Task, Tasks
from ebpf_net.collectors.free_memory import return_free_memory

_TIDY_SECONDS = 20.0

_Work = Callable[[CallPace], None]


@dataclass(frozen=True)
class PollerOptions:
    """How often, and by how many threads."""

    interval_seconds: float = 60.0
    listing_seconds: float = 600.0
    """How often providers are asked which parts there are."""
    threads: int = 4
    pace: PaceOptions = field(default_factory=PaceOptions)


@dataclass(frozen=True)
class _Polled:
    """A part that is polled, and the provider that listed it."""

    provider: str
    part: Part
    task: Task


class Poller:
    """``start`` begins, ``stop`` ends; ``status`` may be called by any thread."""

    def __init__(
        self,
        providers: Sequence[Provider],
        inventory: Inventory,
        options: PollerOptions,
    ) -> None:
        self._inventory = inventory
        self._options = options
        self._stopped = threading.Event()
        self._tasks = Tasks(options.threads, self._stopped)
        self._counter = CallCounter()
        self._lock = threading.Lock()
        self._listings = [self._listing(provider) for provider in providers]
        self._parts: dict[PartKey, _Polled] = {}
        self._named: set[tuple[str, str]] = set()
        self._asked: set[PartKey] = set()
        self._polls = 0
        self._tidy_at = 0.0

    def start(self) -> None:
        """Begin to ask."""
        for task in self._listings:
            self._tasks.put(task)
        self._tasks.start()

    def stop(self) -> None:
        """Ask all threads to end; returns at once."""
        self._tasks.stop()

    def join(self, seconds: float) -> None:
        """Wait for the threads, which may be in the middle of a call."""
        self._tasks.join(seconds)

    def has_asked_all(self) -> bool:
        """Whether all there is has been asked once, with or without success."""
        with self._lock:
            return all(task.has_run for task in self._all_tasks())

    def accounts(self) -> set[tuple[str, str]]:
        """Return provider and account of all parts known now."""
        with self._lock:
            return {key[:2] for key in self._parts}

    def status(self) -> dict[str, int]:
        """Return counters since the start."""
        with self._lock:
            tasks = self._all_tasks()
            return self._counter.status() | {
                "cloud.parts": len(self._parts),
                "cloud.polls": self._polls,
                "cloud.failing": sum(task.failures > 0 for task in tasks),
                "cloud.incomplete": sum(bool(task.problems) for task in tasks),
            }

    def _all_tasks(self) -> list[Task]:
        return [*self._listings, *(one.task for one in self._parts.values())]

    def _task(self, name: str, seconds: float, work: _Work) -> Task:
        pace = CallPace(self._counter, self._stopped, self._options.pace)
        return Task(name, seconds, work, pace)

    # Which parts there are

    def _listing(self, provider: Provider) -> Task:
        def list_parts(pace: CallPace) -> None:
            self._take_parts(provider.name, list(provider.parts(pace)))

        task = self._task(provider.name, self._options.listing_seconds, list_parts)
        task.retry_seconds = self._options.interval_seconds
        return task

    def _take_parts(self, provider: str, parts: list[Part]) -> None:
        found = {part.key: part for part in parts}
        with self._lock:
            new = [
                _Polled(provider, part, self._polling(part))
                for key, part in found.items()
                if key not in self._parts
            ]
            gone = [
                key
                for key, one in self._parts.items()
                if one.provider == provider and key not in found
            ]
            for key in gone:
                self._end(key)
            self._parts |= {one.part.key: one for one in new}
        for one in new:
            self._tasks.put(one.task)

    def _polling(self, part: Part) -> Task:
        def poll(pace: CallPace) -> None:
            self._poll(part, pace)

        return self._task(str(part.key), self._options.interval_seconds, poll)

    def _end(self, key: PartKey) -> None:
        """Have what a part has forgotten, by the thread that would poll it next."""
        self._parts.pop(key).task.end = lambda: self._forget(key)

    def _forget(self, key: PartKey) -> None:
        with self._lock:
            if key in self._parts:
                return  # it is back
            self._asked.discard(key)
            is_last = all(one[:2] != key[:2] for one in self._parts)
            if is_last:
                self._named.discard(key[:2])
        self._inventory.drop_part(key)
        if is_last:
            self._inventory.forget_account(*key[:2])

    # What each has

    def _poll(self, part: Part, pace: CallPace) -> None:
        poll = self._inventory.begin_poll(part.key)
        is_complete = False
        try:
            for interface in part.fetch(pace):
                poll.put(interface)
            is_complete = True
        finally:
            if is_complete:
                poll.complete()
            else:
                poll.abandon()
            self._name_account(part)
            self._tidy()
        with self._lock:
            self._polls += 1

    def _tidy(self) -> None:
        """Give back what polls took; SDKs leave whole answers in cycles."""
        with self._lock:
            is_due = time.monotonic() >= self._tidy_at
            if is_due:
                self._tidy_at = time.monotonic() + _TIDY_SECONDS
        if is_due:
            gc.collect()
        return_free_memory()

    def _name_account(self, part: Part) -> None:
        """Name an account when all its parts have been asked.

        Whoever told its rows before, such as an earlier run, is not believed then.
        """
        account = part.key[:2]
        with self._lock:
            self._asked.add(part.key)
            is_new = account not in self._named
            parts = [key for key in self._parts if key[:2] == account]
            if not is_new or not self._asked.issuperset(parts):
                return
            self._named.add(account)
        self._inventory.name_account(*account, part.account_name)
