"""Asks the program ``conntrack_opener``, which alone may enter network namespaces.

It is started before this process gives up its rights, and ends with this process. What
it opens is read here: that takes no rights.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

_PROGRAM = Path(__file__).with_name("conntrack_opener")
_CHECK, _EVENTS, _DUMP = 1, 2, 3
_ALL_EVENTS = 1 << 31
_REQUEST = struct.Struct("=III")
_REPLY = struct.Struct("=iIII")
_START_SECONDS = 10.0  # for all questions before the first window
_WINDOW_SECONDS = 2.0  # for all questions of a window
_ANSWER_SECONDS = 1.0
_END_SECONDS = 1.0
_ENDED = "conntrack_opener has ended"


class Nat(IntFlag):
    """What translates addresses in a namespace; as ``enum finding`` of the program."""

    NFTABLES = 1
    IPTABLES = 2
    IPVS = 4
    UNCHANGED = 8  # nftables' rules are those that were looked through before


class Status(IntFlag):
    """Of linux/netfilter/nf_conntrack_common.h: IPS_SRC_NAT, IPS_DST_NAT."""

    SOURCE_NAT = 1 << 4
    DESTINATION_NAT = 1 << 5


@dataclass(frozen=True)
class Checked:
    """What a namespace has that translates, and the generation of its nftables."""

    nat: Nat
    generation: int


class NamespaceMovedError(OSError):
    """A file is now that of another namespace: its process has moved, or is another."""


class UnreachableError(OSError):
    """The program has ended, or does not answer in time."""


class ConntrackOpener:
    """The program, until ``close``. OSError with the kernel's reason where it fails.

    For one thread. Namespaces are given by their files, such as ``/proc/1/ns/net``,
    which are open only for as long as a request takes: they would keep a namespace.
    With ``number``, the inode that the file was found with, NamespaceMovedError where
    it has become another one.
    """

    def __init__(self) -> None:
        """Start it; call before capabilities are dropped and threads are started."""
        self._seconds_left = self._answer_seconds = _START_SECONDS
        self._start()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it was found to have ended; one that stalls has not."""
        return self._has_ended

    def begin_window(self) -> None:
        """Allow so much waiting anew; beyond it questions fail at once."""
        self._seconds_left, self._answer_seconds = _WINDOW_SECONDS, _ANSWER_SECONDS

    def restart(self) -> None:
        """Start it again; it has no more rights than this process has now."""
        self.close()
        self._start()

    def check(self, namespace: str, generation: int, number: int = 0) -> Checked:
        """Say what translates there; ``generation`` is of the last check, or 0."""
        with self._ask(_CHECK, generation, namespace, number) as (found, now, _):
            return Checked(Nat(found), now)

    def open_events(
        self, namespace: str, buffer_bytes: int, number: int = 0, *, every: bool
    ) -> int:
        """Return a socket with the namespace's events, ``every`` one or translated."""
        size = min(buffer_bytes, _ALL_EVENTS - 1) | (_ALL_EVENTS if every else 0)
        with self._ask(_EVENTS, size, namespace, number) as (_, _, files):
            opened: int = files[0]
            files.clear()  # it is the caller's
            return opened

    @contextlib.contextmanager
    def open_dump(self, namespace: str, status: int, number: int = 0) -> Iterator[int]:
        """Return a socket with a dump of what has these status bits, 0: of all."""
        with self._ask(_DUMP, status, namespace, number) as (_, _, files):
            yield files[0]

    def close(self) -> None:
        """End it."""
        self._has_ended = True
        self._socket.close()
        self._process.kill()  # it has nothing to tidy up
        if self._process.poll() is not None:
            return
        process = os.pidfd_open(self._process.pid)
        try:
            ended, _, _ = select.select([process], [], [], _END_SECONDS)
            if ended:  # the kernel may hold it
                self._process.wait()
        finally:
            os.close(process)

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asked = self._answered = 0  # sequence numbers
        with theirs:
            self._process = subprocess.Popen([str(_PROGRAM)], stdin=theirs.fileno())
        self._has_ended = False

    @contextlib.contextmanager
    def _ask(
        self, operation: int, argument: int, namespace: str, number: int
    ) -> Iterator[tuple[int, int, list[int]]]:
        """Yield what was found, a generation, and files that are closed if left."""
        if self._has_ended:
            raise UnreachableError(errno.EPIPE, _ENDED)
        place = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if number and os.fstat(place).st_ino != number:
                raise NamespaceMovedError(errno.ESTALE, os.strerror(errno.ESTALE))
            (error, found, generation), files = self._exchange(
                operation, argument, place
            )
        finally:
            os.close(place)
        try:
            if error:
                raise OSError(error, os.strerror(error))
            yield found, generation, files
        finally:
            _close_all(files)

    def _exchange(
        self, operation: int, argument: int, place: int
    ) -> tuple[tuple[int, int, int], list[int]]:
        """Ask in time; what is late from before is taken first, and let go."""
        began = time.monotonic()
        deadline = began + min(self._seconds_left, self._answer_seconds)
        try:
            while self._answered != self._asked:
                _close_all(self._receive(deadline)[1])
            sequence = (self._asked + 1) % (1 << 32)
            request = _REQUEST.pack(operation, argument, sequence)
            self._wait_until(deadline)
            socket.send_fds(self._socket, [request], [place])
            self._asked = sequence
            return self._receive(deadline)
        except TimeoutError as error:
            text = "conntrack_opener does not answer"
            raise UnreachableError(errno.ETIMEDOUT, text) from error
        except OSError as error:
            self._has_ended = True
            raise UnreachableError(errno.EPIPE, _ENDED) from error
        finally:
            self._seconds_left -= time.monotonic() - began

    def _receive(self, deadline: float) -> tuple[tuple[int, int, int], list[int]]:
        self._wait_until(deadline)
        answer, files, _, _ = socket.recv_fds(
            self._socket, _REPLY.size, 1, socket.MSG_CMSG_CLOEXEC
        )
        if len(answer) != _REPLY.size:
            _close_all(files)
            raise BrokenPipeError(errno.EPIPE, _ENDED)
        error, found, generation, self._answered = _REPLY.unpack(answer)
        return (error, found, generation), files

    def _wait_until(self, deadline: float) -> None:
        """Let the socket's next operation take no longer."""
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        self._socket.settimeout(seconds)


def _close_all(files: list[int]) -> None:
    for file in files:
        os.close(file)
