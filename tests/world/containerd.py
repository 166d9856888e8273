"""A real containerd on a host of its own, without Docker or Kubernetes around it.

Containers are made by ``ctr``, and by the CRI as kubelet would. All are in the host's
network namespace.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from types import TracebackType

import grpc

from ebpf_net.collectors.kernel.protobuf_fields import read_text, write_field
from tests.world.busybox_image import IMAGE, write_image
from tests.world.containers import Container, remove_cgroup_v1
from tests.world.hosts import Host, run

_CONFIG = """
version = 2
root = "{directory}/root"
state = "{directory}/state"
[grpc]
address = "{directory}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = "{image}:1.0"
"""
_RUNTIME_SERVICE = "/runtime.v1.RuntimeService/"
_NODE = 2  # namespaces of the host
_KUBERNETES = "k8s.io"


class Containerd:
    """A daemon with one image in its namespaces ``namespace`` and ``k8s.io``.

    By default a container's cgroup is /NAMESPACE/ID: the namespace has the name of the
    network's cgroup, so that it goes with it.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.namespace = host.cgroup.path.split("/")[1]
        # Its sockets' paths may not be longer than 104 characters.
        self._directory = Path(tempfile.mkdtemp(prefix="ebpfnet-containerd-"))
        self.socket = self._directory / "containerd.sock"
        config = self._directory / "config.toml"
        config.write_text(_CONFIG.format(directory=self._directory, image=IMAGE))
        self._program = host.start("containerd", "--config", config, log="containerd")
        self._channel = grpc.insecure_channel(f"unix:{self.socket}")
        self._containers: list[str] = []
        self._sandboxes: list[str] = []
        self._program.wait_ready(self._answers)
        archive = self._directory / "image.tar"
        write_image(archive)
        for namespace in (self.namespace, _KUBERNETES):
            self._ctr(namespace, "images", "import", archive)

    def run(self, name: str, labels: dict[str, str] | None = None) -> Container:
        """Start a container by ``ctr``: its id is its name."""
        arguments = ["run", "--detach", "--snapshotter", "overlayfs"]
        arguments += ["--with-ns", f"network:/run/netns/{self._host.netns}"]
        for key, value in (labels or {}).items():
            arguments += ["--label", f"{key}={value}"]
        image = f"{IMAGE}:1.0"
        self._ctr(
            *(self.namespace, *arguments, image),
            *(name, "/bin/busybox", "sleep", "100000"),
        )
        self._containers.append(name)
        return Container(
            name, name, self._pid(self.namespace, name), self._host.address
        )

    def run_pod(self, pod: str, uid: str, container: str) -> Container:
        """Start a pod with one container, with kubelet's labels, by the CRI."""
        labels = {
            "io.kubernetes.pod.name": pod,
            "io.kubernetes.pod.namespace": "shop",
            "io.kubernetes.pod.uid": uid,
        }
        metadata = write_field(1, pod) + write_field(2, uid) + write_field(3, "shop")
        parent = f"{self._host.cgroup.path}/kubepods/besteffort/pod{uid}"
        namespaces = write_field(1, _NODE)
        linux = write_field(1, parent) + write_field(2, write_field(1, namespaces))
        sandbox_config = (
            write_field(1, metadata) + write_field(6, labels) + write_field(8, linux)
        )
        answer = self._call("RunPodSandbox", write_field(1, sandbox_config))
        sandbox = read_text(answer, 1)
        self._sandboxes.append(sandbox)
        config = (
            write_field(1, write_field(1, container))
            + write_field(2, write_field(1, f"{IMAGE}:1.0"))
            + b"".join(write_field(3, a) for a in ("/bin/busybox", "sleep", "100000"))
            + write_field(9, labels | {"io.kubernetes.container.name": container})
            + write_field(15, write_field(2, write_field(5, namespaces)))
        )
        answer = self._call(
            "CreateContainer",
            write_field(1, sandbox)
            + write_field(2, config)
            + write_field(3, sandbox_config),
        )
        identity = read_text(answer, 1)
        self._call("StartContainer", write_field(1, identity))
        return Container(
            container, identity, self._pid(_KUBERNETES, identity), self._host.address
        )

    def __enter__(self) -> Containerd:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove all containers, end the daemon, and remove what it wrote."""
        for sandbox in self._sandboxes:
            self._call("RemovePodSandbox", write_field(1, sandbox))
        for name in self._containers:
            self._ctr(self.namespace, "tasks", "rm", "--force", name)
            self._ctr(self.namespace, "containers", "rm", name)
        self._channel.close()
        self._program.stop()
        remove_cgroup_v1(self.namespace)
        shutil.rmtree(self._directory)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.socket)) == 0

    def _pid(self, namespace: str, identity: str) -> int:
        lines = self._ctr(namespace, "tasks", "list").splitlines()[1:]
        return next(int(line.split()[1]) for line in lines if identity in line)

    def _ctr(self, namespace: str, *arguments: str | Path) -> str:
        address = ("--address", self.socket, "--namespace", namespace)
        return run("ctr", *address, *arguments)

    def _call(self, method: str, request: bytes) -> bytes:
        answer = self._channel.unary_unary(_RUNTIME_SERVICE + method)(
            request, timeout=60
        )
        assert isinstance(answer, bytes)
        return answer
