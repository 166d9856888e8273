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
from pathlib import Path
from types import TracebackType

from tests.world.containers import Container, remove_cgroup_v1
from tests.world.hosts import Host, run

_IMAGE = "ebpf-net-test"


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
        remove_cgroup_v1(self._host.cgroup.path.split("/")[1])
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
