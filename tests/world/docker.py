"""A real Docker engine on a host of its own: its bridge, its NAT rules, its cgroups.

In the host's network namespace it does not disturb an engine that runs already.
"""

from __future__ import annotations

import io
import json
import shutil
import socket
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.world.hosts import Host, cgroup_root, run
from tests.world.workers import Worker

_IMAGE = "ebpf-net-test"


@dataclass(frozen=True)
class Container:
    """A running container; its process only waits, workers do the traffic."""

    name: str
    identity: str
    pid: int
    address: str

    def worker(self) -> Worker:
        """Start a process inside that calls Python functions, as docker exec would."""
        lines = Path(f"/proc/{self.pid}/cgroup").read_text().splitlines()
        path = next(line[3:] for line in lines if line.startswith("0::"))
        netns = Path(f"/proc/{self.pid}/ns/net")
        return Worker(cgroup_root() / path.lstrip("/"), netns)


class Docker:
    """An engine with one image, made from Debian's static busybox."""

    def __init__(self, host: Host) -> None:
        self._host = host
        # Its sockets' paths may not be longer than 104 characters.
        self._directory = Path(tempfile.mkdtemp(prefix="ebpfnet-docker-"))
        self.socket = self._directory / "docker.sock"
        host.ip("link", "add", "docker0", "type", "bridge")
        host.ip("address", "add", "172.29.0.1/24", "dev", "docker0")
        host.ip("link", "set", "docker0", "up")
        self._program = host.start(
            "dockerd",
            *("--host", f"unix://{self.socket}"),
            *("--data-root", self._directory / "data"),
            *("--exec-root", self._directory / "exec"),
            *("--pidfile", self._directory / "docker.pid"),
            *("--storage-driver", "overlay2"),
            *("--bridge", "docker0"),
            *("--cgroup-parent", f"{host.cgroup.path}/docker"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs"),
            log="dockerd",
        )
        self._program.wait_ready(self._answers)
        self._import_image()

    def run(
        self, name: str, publish: str = "", labels: dict[str, str] | None = None
    ) -> Container:
        """Start a container; ``publish`` is as docker's flag."""
        arguments = ["run", "--detach", "--name", name, "--init=false"]
        if publish:
            arguments += ["--publish", publish]
        for key, value in (labels or {}).items():
            arguments += ["--label", f"{key}={value}"]
        self._docker(*arguments, f"{_IMAGE}:1.0", "/bin/busybox", "sleep", "100000")
        (state,) = json.loads(self._docker("inspect", name))
        return Container(
            name=name,
            identity=state["Id"],
            pid=state["State"]["Pid"],
            address=state["NetworkSettings"]["IPAddress"],
        )

    def remove(self, name: str) -> None:
        """Kill a container and remove it."""
        self._docker("rm", "--force", name)

    def __enter__(self) -> Docker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove all containers, end the engine, and remove what it wrote."""
        names = self._docker("ps", "--all", "--quiet").split()
        if names:
            self._docker("rm", "--force", *names)
        self._program.stop()
        for hierarchy in Path("/sys/fs/cgroup").glob("*"):
            _remove_empty(hierarchy / self._host.cgroup.path.lstrip("/"))
        shutil.rmtree(self._directory)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.socket)) == 0

    def _docker(self, *arguments: str, text: str | None = None) -> str:
        return run("docker", "--host", f"unix://{self.socket}", *arguments, text=text)

    def _import_image(self) -> None:
        archive = self._directory / "image.tar"
        with tarfile.open(archive, "w") as image:
            image.add("/bin/busybox", "bin/busybox")
            for directory in ("tmp", "etc", "proc", "sys", "dev"):
                entry = tarfile.TarInfo(directory)
                entry.type = tarfile.DIRTYPE
                entry.mode = 0o755
                image.addfile(entry, io.BytesIO())
        self._docker("import", str(archive), f"{_IMAGE}:1.0")


def _remove_empty(directory: Path) -> None:
    """Remove what runc leaves in the other hierarchies of cgroup v1."""
    if not directory.is_dir() or directory.is_relative_to(cgroup_root()):
        return
    below = [path for path in directory.rglob("*") if path.is_dir()]
    for path in [*sorted(below, reverse=True), directory, directory.parent]:
        path.rmdir()
