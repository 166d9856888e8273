"""Keeps up with one resource: a list, then a watch from where the list was.

What the API server says about the end of a watch decides how to go on: from the last
version seen, or with another list, whose difference to what is known closes the gap.
A refusal is believed when it has lasted: an API server that starts may refuse all.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import msgspec

from ebpf_net.collectors.kubernetes.api import ApiError, ApiServer, Watch
from ebpf_net.collectors.kubernetes.api_messages import (
    Event,
    read_event,
    read_page,
    read_status,
)
from ebpf_net.collectors.kubernetes.objects import KubernetesObject, PartialObject
from ebpf_net.collectors.kubernetes.resources import Resource

_MAX_RESTARTS = 2
"""Of a paged list that expires; then all is asked for in one page."""
_LOG_SECONDS = 60.0
_REFUSED = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)

logger = logging.getLogger(__name__)
_decode_partial = msgspec.json.Decoder(PartialObject).decode


class Sink(Protocol):
    """Where objects go."""

    def put(self, resource: str, item: KubernetesObject) -> None:
        """Take an object that is new or may have changed."""
        ...

    def drop(self, resource: str, uid: str) -> None:
        """Take the end of an object."""
        ...

    def retain(self, resource: str, uids: set[str]) -> None:
        """Take the end of all objects but these."""
        ...


@dataclass(frozen=True)
class Pace:
    """How often and how long, in seconds."""

    watch_seconds: float = 300.0
    backoff_seconds: float = 0.25
    max_backoff_seconds: float = 15.0
    refusal_seconds: float = 60.0  # a refusal that lasts as long is meant
    forbidden_seconds: float = 60.0  # between tries after that
    idle_seconds: float = 1.0  # after a watch that ended with nothing


class Reflector:
    """``run`` occupies a thread until ``stop``."""

    def __init__(
        self,
        api: ApiServer,
        resource: Resource,
        sink: Sink,
        pace: Pace = Pace(),
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """``tell`` is called once the resource was listed, or cannot be."""
        self.resource = resource
        self.listed = threading.Event()
        self._api = api
        self._sink = sink
        self._pace = pace
        self._tell = tell
        self._version = ""  # "": a list is needed
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._counts: Counter[str] = Counter()
        self._missing_verb = ""
        self._refused: float | None = None  # since when the verb is
        self._failures = 0
        self._logged = -_LOG_SECONDS

    def run(self) -> None:
        """List and watch until ``stop``."""
        while not self._stopped.is_set():
            try:
                if not self._version:
                    self._version = self._list()
                    self._succeed()
                    self._note_listed()
                self._follow()
            except ApiError as error:
                self._handle(error)
            except Exception:
                logger.exception("%s: going on after a fault", self.resource.name)
                self._version = ""
                self._back_off()

    def stop(self) -> None:
        """Ask ``run`` to end, wherever it waits."""
        self._stopped.set()
        with self._lock:
            if self._watch is not None:
                self._watch.close()

    @property
    def lacks_right(self) -> bool:
        """Whether the server does not let it list or watch."""
        return bool(self._missing_verb)

    def status(self) -> dict[str, int]:
        """Return counters, and whether a right is missing."""
        name = self.resource.name
        verb = self._missing_verb
        return {
            **{
                f"kubernetes.{name}.{count}": self._counts[count]
                for count in ("lists", "watches", "events", "expired", "failures")
            },
            f"lost.{name}_undecodable": self._counts["undecodable"],
            f"signal.kubernetes_{name}.{f'no_{verb}' if verb else 'watch'}": int(
                not verb and self.listed.is_set()
            ),
        }

    # A list

    def _list(self) -> str:
        """Take the whole list, page by page; return its version."""
        for _ in range(_MAX_RESTARTS):
            try:
                return self._list_pages(self.resource.page)
            except ApiError as error:
                if error.status != HTTPStatus.GONE:
                    raise
                self._counts["expired"] += 1
        return self._list_pages(0)

    def _list_pages(self, limit: int) -> str:
        resource = self.resource
        seen: set[str] = set()
        query = {"limit": str(limit)} if limit else {}
        while True:
            self._counts["lists"] += 1
            try:
                body = self._api.get(resource.path, query, resource.list_accept)
                page = read_page(body)
            except msgspec.DecodeError as error:
                raise ApiError(0, f"not a list: {error}") from error
            except ApiError as error:
                self._note_right(error, "list")
                raise
            for raw in page.items or ():
                self._take(raw, seen)
            if not page.metadata.continue_:
                self._sink.retain(resource.name, seen)
                return page.metadata.resource_version
            query["continue"] = page.metadata.continue_

    def _take(self, raw: msgspec.Raw, seen: set[str]) -> None:
        item = self._decode(raw)
        if item is not None:
            seen.add(item.metadata.uid)
            self._sink.put(self.resource.name, item)

    # A watch

    def _follow(self) -> None:
        """Watch until the stream ends; raises ApiError with what ended it."""
        began = time.monotonic()
        events = self._counts["events"]
        with self._open_watch() as watch:
            with self._lock:
                self._watch = watch
            try:
                if not self._stopped.is_set():
                    for line in watch.lines():
                        self._take_line(line)
            finally:
                with self._lock:
                    self._watch = None
        if (
            self._counts["events"] == events
            and time.monotonic() - began < self._pace.idle_seconds
        ):
            self._stopped.wait(self._pace.idle_seconds)

    def _open_watch(self) -> Watch:
        seconds = self._pace.watch_seconds * random.uniform(1, 2)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(seconds) or 1),
        }
        self._counts["watches"] += 1
        resource = self.resource
        try:
            watch = self._api.watch(
                resource.path, query, resource.watch_accept, seconds
            )
        except ApiError as error:
            self._note_right(error, "watch")
            raise
        self._allow()
        return watch

    def _take_line(self, line: bytes) -> None:
        try:
            event = read_event(line)
        except msgspec.DecodeError as error:
            raise ApiError(0, f"not an event: {error}") from error
        if event.type == "ERROR":
            self._raise(event)
        self._failures = 0
        if event.type == "BOOKMARK":
            self._version = _decode_partial(event.object).metadata.resource_version
            return
        self._counts["events"] += 1
        item = self._decode(event.object)
        if item is None:
            return
        if event.type == "DELETED":
            self._sink.drop(self.resource.name, item.metadata.uid)
        else:
            self._sink.put(self.resource.name, item)
        self._version = item.metadata.resource_version

    def _raise(self, event: Event) -> None:
        status = read_status(event.object)
        raise ApiError(
            status.code or HTTPStatus.INTERNAL_SERVER_ERROR,
            status.message or "the watch failed",
        )

    def _decode(self, raw: msgspec.Raw) -> KubernetesObject | None:
        try:
            return self.resource.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            self._counts["undecodable"] += 1
            self._log_sparingly(f"an object cannot be read: {error}")
            return None

    # Failures

    def _handle(self, error: ApiError) -> None:
        if self._stopped.is_set():
            return
        if error.status == HTTPStatus.GONE:
            self._counts["expired"] += 1
            self._version = ""
            logger.debug("%s: the watch expired; listing", self.resource.name)
            if self._failures == 0:
                self._failures = 1
                return
        elif error.status in _REFUSED:
            self._announce()
            if self._lacks_for_long():
                self._wait_for_right()
                return
        elif error.is_answer:
            self._log_sparingly(str(error))
        self._counts["failures"] += 1
        self._back_off(error.retry_seconds)

    def _note_right(self, error: ApiError, verb: str) -> None:
        if error.status not in _REFUSED:
            return
        if self._missing_verb != verb:
            resource = self.resource
            logger.warning(
                "%s: %s are not known; grant it, and it is noticed",
                f"not allowed to {verb} {resource.full_name}"
                if error.status == HTTPStatus.FORBIDDEN
                else f"this cluster has no {resource.full_name}",
                resource.tables,
            )
        if self._missing_verb != verb or self._refused is None:
            self._refused = time.monotonic()
        self._missing_verb = verb

    def _lacks_for_long(self) -> bool:
        if self._refused is None:
            return False  # by an event of a watch that had been allowed
        return time.monotonic() - self._refused >= self._pace.refusal_seconds

    def _note_listed(self) -> None:
        if self._missing_verb == "list":
            self._refused = None

    def _allow(self) -> None:
        self._refused = None
        if self._missing_verb:
            logger.info("allowed to list and watch %s now", self.resource.full_name)
            self._missing_verb = ""

    def _wait_for_right(self) -> None:
        """Try again in a while; what can be listed only, is listed then."""
        if self._missing_verb == "list":
            self._sink.retain(self.resource.name, set())
        self._version = ""
        self._stopped.wait(self._pace.forbidden_seconds * random.uniform(0.9, 1.1))

    def _succeed(self) -> None:
        self._announce()
        self._failures = 0

    def _announce(self) -> None:
        if not self.listed.is_set():
            self.listed.set()
            self._tell()

    def _back_off(self, at_least: float = 0.0) -> None:
        pace = self._pace
        step = pace.backoff_seconds * 2 ** min(self._failures, 20)
        self._failures += 1
        jitter = random.uniform(0.5, 1) * min(step, pace.max_backoff_seconds)
        self._stopped.wait(at_least + jitter)

    def _log_sparingly(self, text: str) -> None:
        now = time.monotonic()
        if now - self._logged >= _LOG_SECONDS:
            self._logged = now
            logger.warning("%s: %s", self.resource.name, text)
