"""Translated connections as the kernel's connection tracking tells them.

No Python code runs for an event, an entry of a dump or a socket: see ``conntrack.c``.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel._conntrack import ffi, lib
from ebpf_net.errors import KernelError

TRANSLATION = np.dtype(
    [
        ("translation_id", "<i8"),
        ("client", "u1", 16),
        ("service", "u1", 16),
        ("outer", "u1", 16),
        ("server", "u1", 16),
        ("service_port", "<u2"),
        ("server_port", "<u2"),
        ("client_port", "<u2"),
        ("protocol", "<u2"),
    ]
)
"""``struct ebn_translation``."""

Translations = npt.NDArray[Any]
_TELL_AT_ONCE = 4096

NOT_FIRST = np.uint64(np.iinfo(np.uint64).max)
BEFORE_ALL = np.uint64(NOT_FIRST - np.uint64(1))
"""Of sockets that were there before anything was heard: no entry is as fresh."""


class Outcome(IntEnum):
    """What is known of a socket's ends."""

    AS_SEEN = 0
    CLIENT = 1  # it is the client of a translated connection
    SERVER = 2
    AMBIGUOUS = 3  # two namespaces say different things


@dataclass(frozen=True)
class Sockets:
    """Columns: what the sockets see, and the time (CLOCK_MONOTONIC) they saw it.

    ``cookies`` of those that are asked about again must be answered alike; else 0.
    Those that nobody asked about before began after ``fresh_ns``, or BEFORE_ALL; the
    others have NOT_FIRST. Of ``are_retried`` each try may have begun a connection.
    """

    local: npt.NDArray[np.uint8]
    remote: npt.NDArray[np.uint8]
    local_ports: npt.NDArray[np.uint16]
    remote_ports: npt.NDArray[np.uint16]
    netns: npt.NDArray[np.uint32]
    from_ns: npt.NDArray[np.uint64]
    until_ns: npt.NDArray[np.uint64]
    fresh_ns: npt.NDArray[np.uint64]
    cookies: npt.NDArray[np.uint64]
    roles: npt.NDArray[np.uint8]
    are_closing: npt.NDArray[np.bool_]
    are_retried: npt.NDArray[np.bool_]
    protocol: int

    def __len__(self) -> int:
        return int(self.netns.size)


@dataclass(frozen=True)
class Listening:
    """Where something is heard, and when; times are CLOCK_MONOTONIC.

    ``since_ns`` is when we listened before. Connections of a private namespace help to
    understand those of others, and are not told.
    """

    netns: int
    since_ns: int
    now_ns: int
    is_private: bool = False


class ConntrackTable:
    """Translated connections of all namespaces, at most ``limit`` (a power of two)."""

    def __init__(self, limit: int) -> None:
        table = lib.ebn_conntrack_new(limit, secrets.randbits(64))
        if table == ffi.NULL:
            raise KernelError("no memory for the table of translated connections")
        # Freed with this object: another thread may yet ask for its counts.
        self._table = ffi.gc(table, lib.ebn_conntrack_free)

    def __len__(self) -> int:
        return int(lib.ebn_conntrack_count(self._table))

    @property
    def evicted(self) -> int:
        """Connections that found no room, since the start."""
        return int(lib.ebn_conntrack_evicted(self._table))

    @property
    def events(self) -> int:
        """Events and entries of translated connections that were read."""
        return int(lib.ebn_conntrack_events(self._table))

    def take(self, message: bytes, listening: Listening) -> int:
        """Take one datagram; 1 at the end of a dump, or a negative errno."""
        heard = _listening(listening)
        return int(lib.ebn_conntrack_take(self._table, message, len(message), heard))

    def drain(self, netlink: int, listening: Listening) -> int:
        """Take the events that wait; return how often the kernel lost some."""
        heard = _listening(listening)
        return _checked(lib.ebn_conntrack_drain(self._table, netlink, heard))

    def read_dump(self, netlink: int, listening: Listening) -> None:
        """Take a dump that was asked for."""
        heard = _listening(listening)
        _checked(lib.ebn_conntrack_read_dump(self._table, netlink, heard))

    def begin_dumps(self) -> None:
        """Say that dumps follow which together have all of one namespace."""
        lib.ebn_conntrack_begin_dump(self._table)

    def end_dumps(self, netns: int, now_ns: int) -> None:
        """End what they did not show."""
        lib.ebn_conntrack_end_dump(self._table, netns, now_ns)

    def forget_ended(self, before_ns: int) -> None:
        """Forget what ended before that time."""
        lib.ebn_conntrack_sweep(self._table, before_ns)

    def count_live(self, netns: int) -> int:
        """Return how many connections of a namespace are there."""
        return int(lib.ebn_conntrack_count_live(self._table, netns))

    def resolve(
        self, sockets: Sockets, host_netns: int
    ) -> tuple[Translations, npt.NDArray[np.uint8]]:
        """Return a translation, where there is one, and an Outcome for each socket."""
        count = len(sockets)
        translations = np.zeros(count, TRANSLATION)
        outcomes = np.zeros(count, np.uint8)
        question = ffi.new("struct ebn_sockets *")
        kept = [_point(question, name, getattr(sockets, name)) for name in _COLUMNS]
        question.count = count
        question.protocol = sockets.protocol
        question.host_netns = host_netns
        lib.ebn_conntrack_resolve(
            self._table,
            question,
            ffi.from_buffer(translations),
            ffi.cast("uint8_t *", ffi.from_buffer(outcomes)),
        )
        del kept  # it held the columns' memory
        return translations, outcomes

    def tell(self, host_netns: int, before_ns: int, *, every: bool) -> Translations:
        """Return what translates connections that began before a time.

        Those that were not told yet, or ``every`` one that is there.
        """
        position = ffi.new("uint32_t *")
        parts = []
        while True:
            part = np.zeros(_TELL_AT_ONCE, TRANSLATION)
            count = lib.ebn_conntrack_tell(
                self._table,
                before_ns,
                every,
                host_netns,
                ffi.from_buffer(part),
                _TELL_AT_ONCE,
                position,
            )
            parts.append(_distinct(part[:count]))
            if count < _TELL_AT_ONCE:
                return _distinct(np.concatenate(parts))


_COLUMNS = {
    "local": "void *",
    "remote": "void *",
    "local_ports": "uint16_t *",
    "remote_ports": "uint16_t *",
    "netns": "uint32_t *",
    "from_ns": "uint64_t *",
    "until_ns": "uint64_t *",
    "fresh_ns": "uint64_t *",
    "cookies": "uint64_t *",
    "roles": "uint8_t *",
    "are_closing": "uint8_t *",
    "are_retried": "uint8_t *",
}


def _listening(listening: Listening) -> Any:
    return ffi.new("struct ebn_listening *", vars(listening))


def _point(question: Any, name: str, column: npt.NDArray[Any]) -> Any:
    memory = ffi.from_buffer(np.ascontiguousarray(column))
    setattr(question, name, ffi.cast(_COLUMNS[name], memory))
    return memory


def _distinct(translations: Translations) -> Translations:
    _, first = np.unique(translations["translation_id"], return_index=True)
    return translations[first]


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return int(result)
