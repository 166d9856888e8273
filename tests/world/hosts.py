"""Hosts on one machine: a network namespace and a cgroup each, joined by a bridge.

All names begin with the process id of the test run, so that runs do not meet; what a
killed run left behind goes at the next start.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.world.cache import one_at_a_time
from tests.world.ports import is_listening
from tests.world.programs import Program
from tests.world.waiting import wait_until
from tests.world.workers import Worker

_PREFIX = "ebpfnet"
_numbers = itertools.count(1)

Arguments = Sequence[str | Path]


def run(*arguments: str | Path, text: str | None = None) -> str:
    """Run a command to its end with success and return what it prints."""
    done = subprocess.run(
        arguments, capture_output=True, text=True, input=text, check=False
    )
    if done.returncode != 0:
        command = " ".join(str(argument) for argument in arguments)
        raise RuntimeError(f"{command}: {done.stderr or done.stdout}")
    return done.stdout


def cgroup_root() -> Path:
    """Return where cgroup v2 is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, directory, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(directory)
    raise FileNotFoundError("cgroup v2 is not mounted")


class Cgroup:
    """A cgroup of the test's own; ``path`` is below the root, as the collector's."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.directory = cgroup_root() / path.lstrip("/")
        self.directory.mkdir(parents=True)

    def wrap(self, arguments: Arguments) -> list[str | Path]:
        """Return the command that runs ``arguments`` inside."""
        script = 'echo 0 >"$0/cgroup.procs" && exec "$@"'
        return ["sh", "-c", script, self.directory, *arguments]

    def remove(self) -> None:
        """Kill what runs inside and remove it, with those below it."""
        remove_cgroup(self.directory)


def remove_cgroup(directory: Path) -> None:
    if not directory.exists():
        return
    (directory / "cgroup.kill").write_text("1")
    below = [path for path in directory.rglob("*") if path.is_dir()]
    for path in [*sorted(below, reverse=True), directory]:
        # Those that are ending are no longer in cgroup.procs.
        events = path / "cgroup.events"
        wait_until(lambda events=events: "populated 0" in events.read_text(), 20)
        path.rmdir()


class Host:
    """A network namespace and a cgroup: programs started here make one host."""

    def __init__(
        self, network: Network, name: str, number: int, directory: Path
    ) -> None:
        self.name = name
        self.netns = f"{network.name}-{name}"
        self.number = number
        self.address = f"10.77.0.{number}"
        self.address6 = f"fd77::{number}"
        self._network = network
        self.cgroup = Cgroup(f"/{network.name}/{name}")
        self.directory = directory / name
        self.directory.mkdir()
        self.interface = "eth0"
        self._programs: list[Program] = []
        self._workers: list[Worker] = []
        self._connect(network.switch)

    def _connect(self, switch: str) -> None:
        run("ip", "netns", "add", self.netns)
        run(
            *("ip", "-n", switch, "link", "add", self.name, "type", "veth"),
            *("peer", "name", self.interface, "netns", self.netns),
        )
        run("ip", "-n", switch, "link", "set", self.name, "master", "br0")
        run("ip", "-n", switch, "link", "set", self.name, "up")
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", self.interface, "up")
        self.ip("address", "add", f"{self.address}/24", "dev", self.interface)
        self.ip(
            *("address", "add", f"{self.address6}/64"),
            *("dev", self.interface, "nodad"),
        )

    def ip(self, *arguments: str) -> str:
        """Run ``ip`` in the host's namespace."""
        return run("ip", "-n", self.netns, *arguments)

    def add_addresses(self, count: int) -> list[str]:
        """Give the host that many more IPv4 addresses, which all hosts so far reach."""
        prefix = f"10.{100 + self.number}"
        self.ip("route", "add", "local", f"{prefix}.0.0/16", "dev", "lo")
        for other in self._network.hosts:
            if other is not self:
                other.ip("route", "add", f"{prefix}.0.0/16", "via", self.address)
        return [f"{prefix}.{n // 250}.{n % 250 + 1}" for n in range(count)]

    def nft(self, rules: str) -> str:
        """Give nftables rules to the host's namespace."""
        return run(*self._enter(), "nft", "-f", "-", text=rules)

    def nft_counts(self) -> list[int]:
        """Return the packets that the host's nftables rules counted, rule by rule."""
        rules = run(*self._enter(), "nft", "list", "ruleset")
        return [int(count) for count in re.findall(r"counter packets (\d+)", rules)]

    def wrap(self, arguments: Arguments) -> list[str | Path]:
        """Return the command that runs ``arguments`` on this host."""
        return self.cgroup.wrap([*self._enter(), *arguments])

    def run(self, *arguments: str | Path) -> str:
        """Run a program on this host to its end and return what it prints."""
        return run(*self.wrap(arguments))

    def start(self, *arguments: str | Path, log: str = "") -> Program:
        """Start a program on this host; it ends with the host."""
        number = len(self._programs)
        name = log or f"{number}-{Path(arguments[0]).name}"
        program = Program(
            self.wrap(arguments),
            self.directory / f"{name}.log",
            output=self.directory / f"{name}.out",
        )
        self._programs.append(program)
        return program

    def serve(self, port: int, *arguments: str | Path) -> Program:
        """Start a server on this host and wait until it listens on the TCP port."""
        program = self.start(*arguments)
        program.wait_ready(lambda: is_listening(port, program.pid))
        return program

    def worker(self) -> Worker:
        """Start a process on this host that calls Python functions."""
        worker = Worker(self.cgroup.directory, Path("/run/netns", self.netns))
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        for program in self._programs:
            program.kill()
        self.cgroup.remove()
        run("ip", "netns", "delete", self.netns)

    def _enter(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.netns}", "--"]


class Network:
    """Hosts joined by one bridge, which stands in a namespace of its own."""

    def __init__(self, directory: Path) -> None:
        self.name = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}"
        self.switch = f"{self.name}-switch"
        self.cgroup = Cgroup(f"/{self.name}")
        self._directory = directory
        self.hosts: list[Host] = []
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.switch, "link", "set", "br0", "up")

    def host(self, name: str) -> Host:
        """Add a host; its address, IPv4 and IPv6, reaches all others."""
        host = Host(self, name, len(self.hosts) + 1, self._directory)
        self.hosts.append(host)
        return host

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        self.cgroup.remove()
        run("ip", "netns", "delete", self.switch)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """A network without hosts yet."""
    remove_leftovers()
    network = Network(tmp_path)
    try:
        yield network
    finally:
        network.close()


def remove_leftovers() -> None:
    """Remove the cgroups and namespaces of runs that were killed."""
    with one_at_a_time("leftovers"):
        for cgroup in cgroup_root().glob(f"{_PREFIX}-*"):
            if is_left_over(cgroup.name):
                remove_cgroup(cgroup)
        for netns in Path("/run/netns").glob(f"{_PREFIX}-*"):
            if is_left_over(netns.name):
                run("ip", "netns", "delete", netns.name)


def is_left_over(name: str) -> bool:
    """Tell whether a thing of this name was made by a run that is over."""
    match = re.match(rf"{_PREFIX}-(\d+)-", name)
    return bool(match) and not Path(f"/proc/{match[1]}").exists()
