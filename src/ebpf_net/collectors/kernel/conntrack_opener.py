"""Asks the program ``conntrack_opener``, which alone may enter network namespaces.

It is started before this process gives up its rights, and ends with this process. What
it opens is read here: that takes no rights.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

_PROGRAM = Path(__file__).with_name("conntrack_opener")
_CHECK, _EVENTS, _DUMP = 1, 2, 3
_ALL_EVENTS = 1 << 31
_REQUEST = struct.Struct("=II")
_REPLY = struct.Struct("=iII")
_ANSWER_SECONDS = 10.0


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


class ConntrackOpener:
    """The program, until ``close``. OSError with the kernel's reason where it fails.

    For one thread. Namespaces are given by their files, such as ``/proc/1/ns/net``,
    which are open only for as long as a request takes: they would keep a namespace.
    With ``number``, the inode that the file was found with, NamespaceMovedError where
    it has become another one.
    """

    def __init__(self) -> None:
        """Start it; call before capabilities are dropped and threads are started."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_ANSWER_SECONDS)
        with theirs:
            self._process = subprocess.Popen([str(_PROGRAM)], stdin=theirs.fileno())

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

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
        self._socket.close()
        self._process.kill()  # it has nothing to tidy up
        self._process.wait()

    @contextlib.contextmanager
    def _ask(
        self, operation: int, argument: int, namespace: str, number: int
    ) -> Iterator[tuple[int, int, list[int]]]:
        """Yield what was found, a generation, and files that are closed if left."""
        place = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if number and os.fstat(place).st_ino != number:
                raise NamespaceMovedError(errno.ESTALE, os.strerror(errno.ESTALE))
            request = _REQUEST.pack(operation, argument)
            socket.send_fds(self._socket, [request], [place])
        finally:
            os.close(place)
        try:
            answer, files, _, _ = socket.recv_fds(self._socket, _REPLY.size, 1)
        except TimeoutError:
            self.close()  # a late answer would be taken for the next one
            raise
        try:
            if len(answer) != _REPLY.size:
                raise BrokenPipeError("conntrack_opener has ended")
            error, found, generation = _REPLY.unpack(answer)
            if error:
                raise OSError(error, os.strerror(error))
            yield found, generation, files
        finally:
            for file in files:
                os.close(file)
