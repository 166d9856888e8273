"""The network namespaces of this host: those of processes, and those with a name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

_FIRST_PROCESS = "1"
_LOOK_AGAIN_WINDOWS = 6  # processes seldom move to another namespace


class NetworkNamespaces:
    """Finds namespaces, bounded, by their inode numbers.

    Make it while rights are there: the first process is not for everybody to read.
    ``admits`` says whether a process, by its cgroup's path, is wanted; None: all are,
    and named namespaces without a process, too.
    """

    def __init__(
        self,
        limit: int,
        admits: Callable[[str | None], bool] | None = None,
        proc: Path = Path("/proc"),
        named: Path = Path("/run/netns"),
    ) -> None:
        self._limit = limit
        self._admits = admits
        self._proc = str(proc)
        self._named = str(named)
        self._known: dict[str, int] = {}  # namespace by process; 0: not wanted
        self._looks = 0
        self.left_out = 0
        """Namespaces beyond the limit at the last look."""
        first, own = (f"{self._proc}/{pid}/ns/net" for pid in (_FIRST_PROCESS, "self"))
        self.host = self._number(first) or self._number(own)
        """The host's own, which may be ours; 0 if neither can be read."""
        self.host_file = own if self._number(own) == self.host else first

    def find(self) -> dict[int, str]:
        """Return the file of each namespace that there is now."""
        self._looks += 1
        if self._looks % _LOOK_AGAIN_WINDOWS == 0:
            self._known = {}
        found: dict[int, str] = {}
        left_out: set[int] = set()
        for number, file in self._all():
            if number and number not in found:
                if len(found) < self._limit:
                    found[number] = file
                else:
                    left_out.add(number)
        self.left_out = len(left_out)
        return found

    def forget(self, number: int) -> None:
        """Look again, at the next ``find``, at the processes that were in it.

        For a namespace whose file has become that of another one.
        """
        self._known = {pid: at for pid, at in self._known.items() if at != number}

    def _all(self) -> Iterator[tuple[int, str]]:
        known, self._known = self._known, {}
        for pid in filter(str.isdigit, os.listdir(self._proc)):
            number = known.get(pid)
            if number is None:
                number = self._namespace_of(pid)
            self._known[pid] = number
            yield number, f"{self._proc}/{pid}/ns/net"
        if self._admits is None:
            yield from self._with_names()

    def _with_names(self) -> Iterator[tuple[int, str]]:
        try:
            names = os.listdir(self._named)
        except OSError:
            return
        for name in names:
            yield self._number(f"{self._named}/{name}"), f"{self._named}/{name}"

    def _namespace_of(self, pid: str) -> int:
        if self._admits is not None and not self._admits(self._cgroup_of(pid)):
            return 0
        return self._number(f"{self._proc}/{pid}/ns/net")

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
