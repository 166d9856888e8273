"""Who really speaks with whom, where this host translates addresses.

Looks once a window which network namespaces translate; only in those it listens to
connection tracking. Nothing else runs while none does.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.connection_ends import ConnectionEnds, true_ends
from ebpf_net.collectors.kernel.conntrack import (
    ConntrackTable,
    Listening,
    Outcome,
    Sockets,
    Translations,
)
from ebpf_net.collectors.kernel.conntrack_opener import (
    ConntrackOpener,
    NamespaceMovedError,
    Nat,
    Status,
    UnreachableError,
)
from ebpf_net.collectors.kernel.conntrack_reach import ConntrackReach
from ebpf_net.collectors.kernel.network_namespaces import NetworkNamespaces
from ebpf_net.collectors.kernel.translated_sockets import tcp_sockets, udp_sockets
from ebpf_net.collectors.kernel.translation_signal import EVERYWHERE
from ebpf_net.collectors.kernel.translations import (
    FORGET_AFTER_WINDOWS,
    Int64s,
    Table,
    TranslationTable,
)

Records = npt.NDArray[Any]

_LOG = logging.getLogger(__name__)
_CHECKS_A_WINDOW = 100  # of namespaces that did not translate at their last check
_TIDY_EVERY_WINDOWS = FORGET_AFTER_WINDOWS // 3
_LOOK_HARDER_EVERY_WINDOWS = 60
_KEEP_ENDED_NS = 30_000_000_000  # for sockets that outlive their connection's entry
_ALWAYS = Nat.NFTABLES | Nat.IPTABLES | Nat.IPVS


@dataclass(frozen=True)
class TranslationOptions:
    """Bounds of what is kept."""

    max_connections: int = 1 << 16
    max_translations: int = 50_000
    buffer_bytes: int = 8 << 20


@dataclass
class _Place:
    """A namespace: what its rules are, and the socket with its events."""

    file: str
    is_private: bool = False
    checked: int = 0  # in which look
    generation: int = 0
    nat: int = 0
    events: int = -1
    hears_all: bool = False
    needs_dump: bool = False  # what is there could not be asked for


class AddressTranslation:
    """Follows the translated connections of all namespaces.

    For the collector's thread; ``snapshot`` may be called by any.
    """

    def __init__(
        self,
        opener: ConntrackOpener,
        namespaces: NetworkNamespaces,
        options: TranslationOptions,
        monotonic_ns: Callable[[], int],
        attach: str = EVERYWHERE,
    ) -> None:
        self._opener = opener
        self._reach = ConntrackReach(opener, attach)
        self._namespaces = namespaces
        self._options = options
        self._monotonic_ns = monotonic_ns
        self._connections = ConntrackTable(options.max_connections)
        self._table = TranslationTable(options.max_translations)
        self._lock = threading.Lock()
        self._places: dict[int, _Place] = {}
        self._host = 0
        self._looks = 0
        self._since_ns = self._now_ns = monotonic_ns()  # the last two times we listened
        self._udp_since_ns = self._looked_ns = self._scanned_ns = self._now_ns
        self._refused: set[int] = set()
        self._moved: set[int] = set()  # namespaces whose file is of another one now
        self._unresolved = 0
        self._overruns = 0
        self._lost_overruns = 0

    @property
    def is_listening(self) -> bool:
        """Whether some namespace translates."""
        return any(place.events >= 0 for place in self._places.values())

    def look(self) -> None:
        """Find the namespaces that translate now; call it once a window."""
        self._looks += 1
        self._looked_ns = self._monotonic_ns()
        self._reach.begin_window()
        self._find()
        for netns in self._to_check():
            self._check(netns, self._places[netns])
        self._look_again()
        if self._is_time_to_tidy():
            self._tidy()

    def listen(self) -> None:
        """Take what connection tracking has told since the last time."""
        self._since_ns, self._now_ns = self._now_ns, self._monotonic_ns()
        for netns, place in self._places.items():
            if place.events >= 0:
                self._drain(netns, place)

    def resolve_tcp(self, records: Records, roles: Int64s) -> ConnectionEnds | None:
        """Return the true ends of TCP_RECORD; None: all are as seen."""
        if not len(self._connections):
            return None
        sockets = tcp_sockets(records, roles, self._scanned_ns)
        return self._resolve(records, sockets)

    def resolve_udp(self, keys: Records, values: Records) -> ConnectionEnds | None:
        """Return the true ends of UDP_KEY and UDP_VALUE of one window."""
        since_ns, self._udp_since_ns = self._udp_since_ns, self._monotonic_ns()
        if not len(self._connections):
            return None
        sockets = udp_sockets(keys, values, since_ns)
        return self._resolve(keys, sockets)

    def end_window(self, in_use: Int64s) -> Table:
        """Return changes of the reference table; ``in_use`` are the window's ids."""
        # What one namespace tells may go on in another one that was asked before.
        self.listen()
        self.listen()
        self._scanned_ns = self._looked_ns
        every = self._looks % _TIDY_EVERY_WINDOWS == 0
        before_ns = max(0, self._since_ns - 1)
        told = self._connections.tell(self._host, before_ns, every=every)
        with self._lock:
            self._table.observe(told)
            self._table.sweep(in_use)
            return self._table.take_changes()

    def snapshot(self) -> Table:
        """Return the whole reference table."""
        with self._lock:
            return self._table.snapshot()

    def status(self) -> dict[str, int]:
        """Return counters since the start, and sizes."""
        return {
            "lost.conntrack_overrun": self._lost_overruns,
            "lost.conntrack_limit": self._connections.evicted,
            "lost.translations_limit": self._table.left_out,
            "lost.translations_unresolved": self._unresolved,
            "lost.namespaces_limit": self._namespaces.left_out,
            "translations.namespaces": sum(
                place.events >= 0 for place in self._places.values()
            ),
            "translations.connections": len(self._connections),
            "translations.events": self._connections.events,
            "translations.overruns": self._overruns,
            **self._reach.status(),
        }

    def close(self) -> None:
        """Stop listening."""
        for place in self._places.values():
            _stop_listening(place)

    def _find(self) -> None:
        """Take note of the namespaces that there are, and of their files."""
        self._host = self._namespaces.host
        files = self._namespaces.find()
        for netns in [netns for netns in self._places if netns not in files]:
            if netns != self._host:
                self._leave(netns)
        for netns, namespace in files.items():
            self._note(netns, namespace.file, is_private=not namespace.is_wanted)
        if self._host and self._host not in files:
            # Its rules serve those in other namespaces, whoever is not to be seen.
            self._note(self._host, self._namespaces.host_file, is_private=True)

    def _note(self, netns: int, file: str, *, is_private: bool) -> None:
        place = self._places.setdefault(netns, _Place(file))
        place.file, place.is_private = file, is_private

    def _look_again(self) -> None:
        """Find another file for namespaces whose process has moved or is another."""
        moved, self._moved = self._moved, set()
        if not moved:
            return
        for netns in moved:
            self._namespaces.forget(netns)
        self._find()
        for netns, place in list(self._places.items()):
            if netns in moved or not place.checked:
                self._check(netns, place)

    def _resolve(self, records: Records, sockets: Sockets) -> ConnectionEnds | None:
        translations, outcomes = self._connections.resolve(sockets, self._host)
        self._unresolved += int(np.count_nonzero(outcomes == Outcome.AMBIGUOUS))
        found = (outcomes == Outcome.CLIENT) | (outcomes == Outcome.SERVER)
        if not found.any():
            return None
        self._observe(translations)
        return true_ends(records, outcomes, translations)

    def _observe(self, translations: Translations) -> None:
        """Take note of those in use; those without a row have no id."""
        with self._lock:
            has_row = self._table.observe(translations)
        if not has_row.all():
            translations["translation_id"][~has_row] = 0

    def _to_check(self) -> list[int]:
        """Return the namespaces to check: those new, and some of the others in turn."""
        waiting = sorted(
            self._places,
            key=lambda netns: (
                netns != self._host and bool(self._places[netns].checked),
                self._places[netns].checked,
            ),
        )
        new = sum(not place.checked for place in self._places.values())
        return waiting[: new + _CHECKS_A_WINDOW]

    def _check(self, netns: int, place: _Place) -> None:
        try:
            checked = self._opener.check(place.file, place.generation, netns)
        except OSError as error:
            if not isinstance(error, UnreachableError):
                place.checked = self._looks
            self._refuse(netns, error)
            return
        place.checked = self._looks
        nat = checked.nat
        if nat & Nat.UNCHANGED:
            nat |= place.nat & Nat.NFTABLES
        place.nat, place.generation = nat & _ALWAYS, checked.generation
        if self._may_translate_without_rules(netns, place):
            self._begin(netns, place)
            if not self._connections.count_live(netns):
                _stop_listening(place)
            return
        hears_all = bool(nat & Nat.IPVS)
        if place.nat and (place.events < 0 or hears_all != place.hears_all):
            place.hears_all = hears_all
            self._begin(netns, place)
        elif self._is_done(netns, place):
            _stop_listening(place)
        elif place.needs_dump:
            self._redump(netns, place)

    def _may_translate_without_rules(self, netns: int, place: _Place) -> bool:
        """Say whether to look for what Open vSwitch and tc translate: a whole dump."""
        is_due = self._looks % _LOOK_HARDER_EVERY_WINDOWS == 2  # not at the start
        is_idle = place.events < 0 and not place.nat
        return is_due and is_idle and netns == self._host

    def _is_time_to_tidy(self) -> bool:
        """Say whether to look for connections that ended without a word."""
        is_crowded = 4 * len(self._connections) > 3 * self._options.max_connections
        return is_crowded or self._looks % _TIDY_EVERY_WINDOWS == 0

    def _tidy(self) -> None:
        for netns, place in self._places.items():
            if place.events >= 0:
                self._redump(netns, place)
        now_ns = self._monotonic_ns()
        self._connections.forget_ended(max(0, now_ns - _KEEP_ENDED_NS))

    def _is_done(self, netns: int, place: _Place) -> bool:
        if place.events < 0 or place.nat:
            return False
        self._drain(netns, place)
        self._redump(netns, place)
        return not self._connections.count_live(netns)

    def _begin(self, netns: int, place: _Place) -> None:
        _stop_listening(place)
        try:
            place.events = self._opener.open_events(
                place.file,
                self._options.buffer_bytes,
                netns,
                every=place.hears_all,
            )
            place.needs_dump = True
            self._dump(netns, place, since_ns=0)
        except OSError as error:
            self._refuse(netns, error)

    def _drain(self, netns: int, place: _Place) -> None:
        listening = Listening(netns, self._since_ns, self._now_ns, place.is_private)
        overruns = self._connections.drain(place.events, listening)
        if not overruns:
            return
        self._overruns += overruns
        if not self._redump(netns, place):
            self._lost_overruns += overruns

    def _redump(self, netns: int, place: _Place) -> bool:
        """Learn anew what is there; False if that cannot be."""
        try:
            self._dump(netns, place, 0 if place.needs_dump else self._since_ns)
        except OSError as error:
            place.needs_dump = True
            self._refuse(netns, error)
            return False
        return True

    def _dump(self, netns: int, place: _Place, since_ns: int) -> None:
        """Learn of all that is there: two dumps, as the kernel selects by one bit."""
        now_ns = self._monotonic_ns()
        listening = Listening(netns, since_ns, now_ns, place.is_private)
        wanted = (Status.SOURCE_NAT, Status.DESTINATION_NAT)
        self._connections.begin_dumps()
        for status in (Status(0),) if place.hears_all else wanted:
            with self._opener.open_dump(place.file, status, netns) as netlink:
                self._connections.read_dump(netlink, listening)
        self._connections.end_dumps(netns, now_ns)
        place.needs_dump = False

    def _leave(self, netns: int) -> None:
        """Let a namespace go that nobody is in any more."""
        place = self._places.pop(netns)
        if place.events >= 0:
            self._drain(netns, place)
        _stop_listening(place)
        self._connections.begin_dumps()
        self._connections.end_dumps(netns, self._monotonic_ns())

    def _refuse(self, netns: int, error: OSError) -> None:
        """Say once what cannot be done; a namespace that has just gone says nothing."""
        if isinstance(error, NamespaceMovedError):
            self._moved.add(netns)
            return
        if isinstance(error, UnreachableError):
            self._reach.note(error)
            return
        gone = isinstance(error, FileNotFoundError | ProcessLookupError)
        if gone or error.errno in self._refused:
            return
        self._refused.add(error.errno or 0)
        _LOG.warning(
            "address translation in some network namespace cannot be seen: %s",
            error.strerror or error,
        )


def _stop_listening(place: _Place) -> None:
    if place.events >= 0:
        os.close(place.events)
        place.events = -1
        place.needs_dump = False
