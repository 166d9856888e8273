"""What the real container runtimes of the tests have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.world.hosts import cgroup_root
from tests.world.waiting import wait_until
from tests.world.workers import Worker


@dataclass(frozen=True)
class Container:
    """A running container; its process only waits, workers do the traffic."""

    name: str
    identity: str
    pid: int
    address: str

    @property
    def cgroup(self) -> str:
        """The path of its cgroup, below the root."""
        lines = Path(f"/proc/{self.pid}/cgroup").read_text().splitlines()
        return next(line[3:] for line in lines if line.startswith("0::"))

    @property
    def cgroup_id(self) -> int:
        """The number of its cgroup."""
        return (cgroup_root() / self.cgroup.lstrip("/")).stat().st_ino

    def worker(self) -> Worker:
        """Start a process inside that calls Python functions, as an exec would."""
        netns = Path(f"/proc/{self.pid}/ns/net")
        return Worker(cgroup_root() / self.cgroup.lstrip("/"), netns)


def remove_cgroup_v1(path: str) -> None:
    """Remove what runc leaves in the other hierarchies of cgroup v1, if it is empty."""
    for hierarchy in Path("/sys/fs/cgroup").glob("*"):
        directory = hierarchy / path.lstrip("/")
        if directory.is_dir() and not directory.is_relative_to(cgroup_root()):
            below = [entry for entry in directory.rglob("*") if entry.is_dir()]
            for entry in [*sorted(below, reverse=True), directory]:
                procs = entry / "cgroup.procs"  # a monitor ends after its container
                wait_until(lambda procs=procs: not procs.read_text(), 20)
                entry.rmdir()
