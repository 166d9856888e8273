"""A host of the test with the programs of Kubernetes on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.world.hosts import Cgroup, Host, run
from tests.world.kubernetes_cgroups import kill_cgroup, make_cgroups_v1
from tests.world.programs import Program


class KubernetesHost:
    """Programs run in the cgroup ``system`` below the host's, pods beside it.

    Where there is only cgroup v2, processes are in leaves alone.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        make_cgroups_v1(host.cgroup.path)
        self._cgroup = Cgroup(f"{host.cgroup.path}/system")
        self._enter = ("nsenter", f"--net=/run/netns/{host.netns}", "--")
        self._programs: list[Program] = []

    def start(self, arguments: Sequence[str | Path], log: Path) -> Program:
        """Start a program; it ends with ``stop``."""
        program = Program(self._cgroup.wrap([*self._enter, *arguments]), log)
        self._programs.append(program)
        return program

    def run(self, *arguments: str | Path) -> str:
        """Run a command in the host's network namespace and return what it prints."""
        return run(*self._enter, *arguments)

    def stop(self) -> None:
        """Kill everything on the host, and remove the cgroups below the host's."""
        kill_cgroup(self.host.cgroup.path)
        for program in self._programs:
            program.kill()
