"""Questions to a cloud's metadata service: HTTP to a link-local address.

From the collector's own network namespace, with no name to resolve, no proxy, no
redirection and no waiting beyond a limit; each question is counted by its outcome.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from ebpf_net.collectors.addresses import to_ns

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

PORT = 80
BAD_REQUEST, UNAUTHORIZED = 400, 401
_OK, _FORBIDDEN, _NOT_FOUND = 200, 403, 404
_MAX_ANSWER_BYTES = 512 << 10  # Azure's has user data of 64 KiB
_MAX_NAME_LENGTH = 1024
_END_OF_TIME_NS = 1 << 63
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)

_T = TypeVar("_T")


class Outcome(StrEnum):
    """What came of a question."""

    ANSWERED = "answered"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    FAILED = "failed"
    TOO_LARGE = "too_large"
    GARBAGE = "garbage"


class MetadataError(Exception):
    """A question has no answer; ``status`` is that of HTTP, 0 without one."""

    def __init__(self, outcome: Outcome, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.status = status


@dataclass(frozen=True)
class Answer:
    """An answer with success; the names of its headers are in lower case."""

    text: str
    headers: Mapping[str, str]


Parse = Callable[[Answer], _T]
"""Raises ValueError for an answer that makes no sense."""


class OutcomeCounts:
    """How many questions ended how. One thread counts, any may read."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(Outcome, 0)  # its keys never change

    def __getitem__(self, outcome: Outcome) -> int:
        return self._counts[outcome]

    def status(self) -> dict[str, int]:
        """Return the counts, for the status of batches."""
        return {f"cloud_metadata.{name}": count for name, count in self._counts.items()}

    @contextlib.contextmanager
    def question(self) -> Iterator[None]:
        """Count one question, by the MetadataError that comes of it."""
        try:
            yield
        except MetadataError as error:
            self._counts[error.outcome] += 1
            raise
        self._counts[Outcome.ANSWERED] += 1


class MetadataService:
    """The service of one cloud. For one thread.

    ``hosts`` are its addresses: one that there is no way to gives place to the next.
    """

    def __init__(
        self,
        hosts: tuple[str, ...],
        timeout_seconds: float,
        counts: OutcomeCounts,
        port: int = PORT,
    ) -> None:
        self._hosts = hosts
        self._timeout_seconds = timeout_seconds
        self._counts = counts
        self._port = port

    def read(
        self,
        path: str,
        headers: Mapping[str, str],
        parse: Parse[_T],
        method: str = "GET",
    ) -> _T | None:
        """Return what ``parse`` makes of the answer, None if nothing is there.

        Raises MetadataError for all else.
        """
        with self._counts.question():
            answer = self._ask(path, headers, method)
            return None if answer is None else _parsed(parse, answer, path)

    def require(
        self,
        path: str,
        headers: Mapping[str, str],
        parse: Parse[_T],
        method: str = "GET",
    ) -> _T:
        """Return the same, or raise MetadataError if nothing is there."""
        with self._counts.question():
            answer = self._ask(path, headers, method)
            if answer is None:
                message = f"it does not have {path}"
                raise MetadataError(Outcome.FAILED, message, _NOT_FOUND)
            return _parsed(parse, answer, path)

    def _ask(self, path: str, headers: Mapping[str, str], method: str) -> Answer | None:
        try:
            status, answer = self._exchange(path, headers, method)
        except TimeoutError:
            limit = f"within {self._timeout_seconds:g} s"
            raise MetadataError(Outcome.TIMEOUT, f"no answer {limit}") from None
        except OSError as error:
            raise MetadataError(Outcome.UNREACHABLE, str(error)) from error
        except (http.client.HTTPException, ValueError) as error:
            raise MetadataError(Outcome.GARBAGE, f"no HTTP: {error!r}") from error
        if status in (UNAUTHORIZED, _FORBIDDEN):
            message = f"it refuses {path} with status {status}"
            raise MetadataError(Outcome.REFUSED, message, status)
        if status not in (_OK, _NOT_FOUND):
            message = f"it answers {path} with status {status}"
            raise MetadataError(Outcome.FAILED, message, status)
        return answer if status == _OK else None

    def _exchange(
        self, path: str, headers: Mapping[str, str], method: str
    ) -> tuple[int, Answer]:
        with contextlib.closing(self._connect()) as connection:
            connection.request(method, path, headers={**headers, "Connection": "close"})
            with connection.getresponse() as response:
                body = response.read(_MAX_ANSWER_BYTES + 1)
                if len(body) > _MAX_ANSWER_BYTES:
                    message = f"its answer is larger than {_MAX_ANSWER_BYTES} bytes"
                    raise MetadataError(Outcome.TOO_LARGE, message)
                if response.length:
                    raise http.client.IncompleteRead(body, response.length)
                names = {name.lower(): text for name, text in response.getheaders()}
                return response.status, Answer(body.decode(), names)

    def _connect(self) -> http.client.HTTPConnection:
        *others, last = self._hosts
        for host in others:
            try:
                return self._connect_to(host)
            except OSError as error:
                if error.errno not in _NO_ROUTE:
                    raise
        return self._connect_to(last)

    def _connect_to(self, host: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(host, self._port)
        connection.sock = _LimitedSocket(host, self._port, self._timeout_seconds)
        return connection


class _LimitedSocket(socket.socket):
    """Connected when made. A byte at a time gains the other end no time."""

    def __init__(self, host: str, port: int, timeout_seconds: float) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__(family, socket.SOCK_STREAM)
        self._deadline = time.monotonic() + timeout_seconds
        try:
            self._limit_wait()
            self.connect((host, port))
        except OSError:
            self.close()
            raise

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """Send in the time that is left."""
        self._limit_wait()
        super().sendall(data, flags)

    def recv_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> int:
        """Receive in the time that is left."""
        self._limit_wait()
        return super().recv_into(buffer, nbytes, flags)

    def _limit_wait(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)


def as_name(answer: Answer) -> str:
    """Return a text that can be a name, which may be empty; raises ValueError."""
    return checked_name(answer.text.strip())


def as_label(answer: Answer) -> str:
    """Return a text that a person has chosen, without what cannot be shown."""
    shown = "".join(filter(str.isprintable, answer.text)).strip()
    return shown[:_MAX_NAME_LENGTH]


def as_lines(answer: Answer) -> list[str]:
    """Return the lines of a list; raises ValueError."""
    return [checked_name(line.strip()) for line in answer.text.split()]


def as_json(answer: Answer) -> Any:
    """Return the value of a JSON text; raises ValueError."""
    try:
        return json.loads(answer.text)
    except RecursionError as error:
        raise ValueError("too deep") from error


def checked_name(text: str) -> str:
    """Return a text that can be a name; raises ValueError."""
    if len(text) > _MAX_NAME_LENGTH or not text.isprintable():
        raise ValueError("no name")
    return text


def time_ns(text: str) -> int:
    """Return a time, as ISO 8601 or mail headers have it, as Unix nanoseconds.

    Without a time zone it is UTC. Raises ValueError.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = parsedate_to_datetime(text)
    try:
        found = to_ns(time)
    except OverflowError as error:
        raise ValueError("no time") from error
    if not 0 < found < _END_OF_TIME_NS:
        raise ValueError("no time of ours")
    return found


def _parsed(parse: Parse[_T], answer: Answer, path: str) -> _T:
    try:
        return parse(answer)
    except ValueError as error:
        message = f"its answer to {path} makes no sense: {error}"
        raise MetadataError(Outcome.GARBAGE, message) from error
