"""Loads on the loopback of a network namespace of our own, and what they cost whom."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_SOURCE = Path(__file__).with_name("connections.c")
# All namespaces share one table of what is in TIME_WAIT, so little of it is ours.
_PREPARE = """\
set -e
ip link set lo up
echo 8192 >/proc/sys/net/ipv4/tcp_max_tw_buckets
echo '1024 65535' >/proc/sys/net/ipv4/ip_local_port_range
echo ready
exec cat
"""


class Namespace:
    """A network namespace with nothing but loopback; it ends with ``close``."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", _PREPARE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            raise RuntimeError("no network namespace: run as root")

    @property
    def file(self) -> str:
        """Return the file that stands for it."""
        return f"/proc/{self._holder.pid}/ns/net"

    def enter(self, *command: str | Path) -> list[str]:
        """Return the command that runs one in here."""
        return ["nsenter", f"--net={self.file}", "--", *map(str, command)]

    def close(self) -> None:
        """End it."""
        self._holder.communicate()

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Load:
    """The program ``connections`` in one of its modes."""

    def __init__(self, program: Path, namespace: Namespace, *arguments: object) -> None:
        self._mode = arguments[0]
        self._process = subprocess.Popen(
            namespace.enter(program, *map(str, arguments)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def ask(self, number: int = 0) -> int:
        """Say a number and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"load {self._mode} ended early")
        return int(line)

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def __enter__(self) -> Load:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def compile_connections(directory: Path) -> Path:
    """Return the program, compiled."""
    program = directory / "connections"
    command = ["cc", "-O2", "-pthread", "-o", str(program), str(_SOURCE)]
    subprocess.run(command, check=True)
    return program


def cpu_ns(pid: int) -> int:
    """Return the time that a process's threads have run."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total


def memory_kib(pid: int) -> dict[str, int]:
    """Return resident and private memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, rest in (x.split(":") for x in lines)}
    private = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"rss_kib": kib["Rss"], "private_kib": private}


def median_and_spread(values: Sequence[float], digits: int = 1) -> dict[str, float]:
    """Return the median, the least and the most."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = (ordered[middle] + ordered[-middle - 1]) / 2
    return {
        "median": round(median, digits),
        "least": round(ordered[0], digits),
        "most": round(ordered[-1], digits),
    }


def median_and_quartiles(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Return the median, and the middle half of the values."""
    quarter = len(values) // 4
    ordered = sorted(values)[quarter : len(values) - quarter]
    return median_and_spread(ordered, digits)
