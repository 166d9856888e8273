"""A real podman on a host of its own, with its API; no daemon but that is needed."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
from pathlib import Path
from types import TracebackType

from tests.world.busybox_image import IMAGE, write_image
from tests.world.containers import Container, remove_cgroup_v1
from tests.world.hosts import Host, run
from tests.world.waiting import wait_until


class Podman:
    """Storage of its own with one image; containers are in the host's network."""

    def __init__(self, host: Host) -> None:
        self._host = host
        # Its sockets' paths may not be longer than 104 characters.
        self._directory = Path(tempfile.mkdtemp(prefix="ebpfnet-podman-"))
        self.socket = self._directory / "podman.sock"
        self.storage = self._directory / "root"
        self._flags = (
            *("--root", self.storage),
            *("--runroot", self._directory / "runroot"),
            *("--tmpdir", self._directory / "tmp"),
            *("--storage-driver", "overlay"),
            *("--cgroup-manager", "cgroupfs"),
            *("--events-backend", "none"),
        )
        archive = self._directory / "image.tar"
        write_image(archive)
        self._podman("load", "--quiet", "--input", archive)
        self._program = host.start(
            *("podman", *self._flags, "system", "service"),
            *("--time", "0", f"unix://{self.socket}"),
            log="podman",
        )
        self._program.wait_ready(self._answers)

    def run(self, name: str, labels: dict[str, str] | None = None) -> Container:
        """Start a container."""
        # Its own limits are above what a machine without CAP_SYS_RESOURCE may set.
        arguments = ["run", "--detach", "--name", name]
        arguments += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        arguments += ["--network", f"ns:/run/netns/{self._host.netns}"]
        arguments += ["--cgroup-parent", self._host.cgroup.path]
        for key, value in (labels or {}).items():
            arguments += ["--label", f"{key}={value}"]
        self._podman(*arguments, f"{IMAGE}:1.0")
        (state,) = json.loads(self._podman("inspect", name))
        return Container(name, state["Id"], state["State"]["Pid"], self._host.address)

    def __enter__(self) -> Podman:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove all containers, end the service, and remove what it wrote."""
        self._podman("rm", "--all", "--force", "--time", "0")
        self._program.stop()
        remove_cgroup_v1(self._host.cgroup.path.split("/")[1])
        # A container's own clean-up may still be at work, and mounts the storage anew.
        wait_until(self._is_removed, 20)

    def _is_removed(self) -> bool:
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            mount = line.split()[1]
            if Path(mount).is_relative_to(self._directory):
                with contextlib.suppress(RuntimeError):
                    run("umount", mount)
        shutil.rmtree(self._directory, ignore_errors=True)
        return not self._directory.exists()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.socket)) == 0

    def _podman(self, *arguments: str | Path) -> str:
        return run("podman", *self._flags, *arguments)
