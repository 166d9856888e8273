"""The network namespaces of this host: those of processes, and those with a name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_FIRST_PROCESS = "1"
_LOOK_AGAIN_WINDOWS = 6  # processes seldom move to another namespace


@dataclass(frozen=True)
class Namespace:
    """A file to enter it by, and whether a wanted process is in it."""

    file: str
    is_wanted: bool


class NetworkNamespaces:
    """Finds namespaces, bounded, by their inode numbers.

    Make it while rights are there: the first process is not for everybody to read.
    ``admits`` says whether a process, by its cgroup's path, is wanted; None: all are,
    and named namespaces without a process, too. ``only_wanted``: no others are found.
    """

    def __init__(
        self,
        limit: int,
        admits: Callable[[str | None], bool] | None = None,
        proc: Path = Path("/proc"),
        named: Path = Path("/run/netns"),
        *,
        only_wanted: bool = False,
    ) -> None:
        self._limit = limit
        self._admits = admits
        self._only_wanted = only_wanted
        self._proc = str(proc)
        self._named = str(named)
        self._known: dict[str, tuple[int, bool]] = {}  # by process; 0: none
        self._looks = 0
        self.left_out = 0
        """Namespaces beyond the limit at the last look."""
        first, own = (f"{self._proc}/{pid}/ns/net" for pid in (_FIRST_PROCESS, "self"))
        self.host = self._number(first) or self._number(own)
        """The host's own, which may be ours; 0 if neither can be read."""
        self.host_file = own if self._number(own) == self.host else first

    def find(self) -> dict[int, Namespace]:
        """Return those that there are now; beyond the limit, unwanted ones go first."""
        self._looks += 1
        if self._looks % _LOOK_AGAIN_WINDOWS == 0:
            self._known = {}
        wanted: dict[int, str] = {}
        others: dict[int, str] = {}
        for number, is_wanted, file in self._all():
            if number:
                (wanted if is_wanted else others).setdefault(number, file)
        found = others | wanted
        self.left_out = max(0, len(found) - self._limit)
        in_order = [*wanted, *(number for number in others if number not in wanted)]
        return {
            number: Namespace(found[number], number in wanted)
            for number in in_order[: self._limit]
        }

    def forget(self, number: int) -> None:
        """Look again, at the next ``find``, at the processes that were in it.

        For a namespace whose file has become that of another one.
        """
        self._known = {
            pid: known for pid, known in self._known.items() if known[0] != number
        }

    def _all(self) -> Iterator[tuple[int, bool, str]]:
        known, self._known = self._known, {}
        for pid in filter(str.isdigit, os.listdir(self._proc)):
            found = known.get(pid) or self._namespace_of(pid)
            self._known[pid] = found
            yield *found, f"{self._proc}/{pid}/ns/net"
        if self._admits is None or not self._only_wanted:
            yield from self._with_names()

    def _with_names(self) -> Iterator[tuple[int, bool, str]]:
        try:
            names = os.listdir(self._named)
        except OSError:
            return
        for name in names:
            file = f"{self._named}/{name}"
            yield self._number(file), self._admits is None, file

    def _namespace_of(self, pid: str) -> tuple[int, bool]:
        is_wanted = self._admits is None or self._admits(self._cgroup_of(pid))
        if self._only_wanted and not is_wanted:
            return 0, False
        return self._number(f"{self._proc}/{pid}/ns/net"), is_wanted

    def _number(self, file: str) -> int:
        try:
            return os.stat(file).st_ino
        except OSError:
            return 0

    def _cgroup_of(self, pid: str) -> str | None:
        try:
            with open(f"{self._proc}/{pid}/cgroup", encoding="utf-8") as file:
                lines = file.read().splitlines()
        except OSError:
            return None
        return next((line[3:] for line in lines if line.startswith("0::")), None)
