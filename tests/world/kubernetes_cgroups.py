"""A node's cgroups, in both versions where the machine has both."""

from __future__ import annotations

from pathlib import Path

from tests.world.cache import one_at_a_time
from tests.world.hosts import cgroup_root, is_left_over, remove_cgroup
from tests.world.waiting import wait_until


def make_cgroups_v1(path: str) -> None:
    """Make the cgroup, and the one above it, in the hierarchies of version 1."""
    for hierarchy in _list_hierarchies():
        directory = hierarchy / path.lstrip("/")
        for cgroup in (directory.parent, directory):
            cgroup.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (cgroup / name).exists():
                    (cgroup / name).write_text((cgroup.parent / name).read_text())


def kill_cgroup(path: str) -> None:
    """Kill what runs in a cgroup, and remove those below it, of v2 and of v1."""
    relative = path.lstrip("/")
    unified = cgroup_root() / relative
    if unified.exists():
        (unified / "cgroup.kill").write_text("1")
        events = unified / "cgroup.events"
        wait_until(lambda: "populated 0" in events.read_text(), 20)
        for below in filter(Path.is_dir, list(unified.iterdir())):
            remove_cgroup(below)
    for hierarchy in _list_hierarchies():
        _remove_empty(hierarchy / relative)
        parent = (hierarchy / relative).parent
        if parent != hierarchy and not list(parent.glob("*/")):
            _is_removed(parent)


def _remove_empty(directory: Path) -> None:
    below = [path for path in directory.rglob("*") if path.is_dir()]
    for path in [*sorted(below, reverse=True), directory]:
        wait_until(lambda path=path: _is_removed(path), 20)


def _is_removed(cgroup: Path) -> bool:
    try:
        cgroup.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # what ran inside has not quite ended
        return False
    return True


def remove_left_cgroups() -> None:
    """Remove those of test runs that were killed."""
    with one_at_a_time("leftovers"):
        for hierarchy in _list_hierarchies():
            for cgroup in hierarchy.glob("ebpfnet-*"):
                if is_left_over(cgroup.name):
                    kill_cgroup(f"/{cgroup.name}")


def _list_hierarchies() -> list[Path]:
    lines = Path("/proc/mounts").read_text().splitlines()
    return [Path(line.split()[1]) for line in lines if line.split()[2] == "cgroup"]
