"""The cgroup v2 file system: where it is, and the path of a cgroup's number."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from ebpf_net.errors import EnvironmentFault

_MOUNTS = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
_MAX_DIRECTORIES = 20_000
_OWN_MOUNT_LINE = "0::"


def find_cgroup_root(host_dir: Path | None = None) -> Path:
    """Return where cgroup v2 is mounted; below ``host_dir`` first when given."""
    bases = [host_dir, Path("/")] if host_dir else [Path("/")]
    for base in bases:
        for mount in _MOUNTS:
            root = base / mount
            if (root / "cgroup.controllers").exists():
                return root
    raise EnvironmentFault(
        "cgroup v2 is not mounted",
        "mount it: mount -t cgroup2 none /sys/fs/cgroup; in a container, mount the "
        "host's /sys/fs/cgroup below EBPF_NET_HOST_DIR",
    )


class CgroupTree:
    """Looks cgroups up by number. Reads directories and nothing else."""

    def __init__(
        self,
        root: Path,
        proc: Path = Path("/proc"),
        max_directories: int = _MAX_DIRECTORIES,
    ) -> None:
        self._root = root
        self._proc = proc
        self._max_directories = max_directories

    def walk(self) -> Iterator[tuple[int, str]]:
        """Yield (number, path) of the cgroups there are, breadth first, bounded."""
        yield self._root.stat().st_ino, "/"
        waiting = deque([""])
        left = self._max_directories
        while waiting and left > 0:
            parent = waiting.popleft()
            for name, number in self._children(parent):
                yield number, f"{parent}/{name}"
                waiting.append(f"{parent}/{name}")
                left -= 1

    def path_of_process(self, pid: int, number: int) -> str | None:
        """Return the path of a process's cgroup if its number is ``number``."""
        try:
            lines = (self._proc / str(pid) / "cgroup").read_text(errors="replace")
        except OSError:
            return None
        for line in lines.splitlines():
            if line.startswith(_OWN_MOUNT_LINE):
                path = line.removeprefix(_OWN_MOUNT_LINE)
                return path if self.number(path) == number else None
        return None

    def number(self, path: str) -> int | None:
        """Return the number of the cgroup that has this path now, if there is one."""
        try:
            return os.stat(f"{self._root}{path}").st_ino
        except (OSError, ValueError):
            return None

    def _children(self, parent: str) -> list[tuple[str, int]]:
        try:
            with os.scandir(f"{self._root}{parent}") as entries:
                # The entry's number is the cgroup's: no stat is needed.
                return [
                    (entry.name, entry.inode())
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            return []  # it went while we looked
