"""etcd and kube-apiserver: Kubernetes' API, on loopback or on a host of the test."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import urllib3

from tests.world.cache import one_at_a_time
from tests.world.hosts import run
from tests.world.kubernetes_certificates import Authority
from tests.world.kubernetes_programs import kubernetes_program
from tests.world.ports import free_port
from tests.world.programs import Program

SERVICE_NETWORKS = "10.96.0.0/16,fd96::/112"
_SERVICE_ADDRESS = "10.96.0.1"

_PREFIX = "ebpfnet-kubernetes"
# etcd waits for the disk at each change.
_MEMORY = Path("/dev/shm")

Object = dict[str, Any]
# Starts a program: its arguments and the file for its output.
Start = Callable[[Sequence[str | Path], Path], Program]


class ApiServer:
    """etcd and kube-apiserver with an administrator's kubeconfig.

    The test reaches it at ``address``, nodes and pods at ``inner_address``.
    """

    def __init__(
        self,
        directory: Path,
        address: str,
        ports: tuple[int, int, int],
        start: Start,
        flags: Sequence[str] = (),
        inner_address: str = "",
    ) -> None:
        self.directory = directory
        self.address = address
        self._port, self._etcd_port, self._etcd_peer_port = ports
        self._start = start
        self._flags = flags
        self._inner_address = inner_address or address
        self.url = f"https://{address}:{self._port}"
        self.authority = Authority(directory)
        self._make_certificates()
        self.kubeconfig = self.write_kubeconfig("admin", "admin", "system:masters")
        self._pool = urllib3.PoolManager(
            maxsize=8,
            ca_certs=str(self.authority.certificate),
            cert_file=str(directory / "admin.crt"),
            key_file=str(directory / "admin.key"),
            retries=False,
        )
        self._etcd = self._start_etcd()
        self._server = self._start_server()

    def start(self) -> None:
        """Start the API server again, after ``kill``."""
        self._server = self._start_server()

    def kill(self) -> None:
        """Kill the API server; every watch breaks off."""
        self._server.kill()

    def stop(self) -> None:
        """Kill the API server and etcd."""
        self._server.kill()
        self._etcd.kill()

    def wait_ready(self) -> None:
        """Wait until it is ready to answer."""
        self._server.wait_ready(self._is_ready, 60)

    def compact(self) -> int:
        """Throw old revisions away from etcd, and return the last one thrown away."""
        header = self._call_etcd("kv/range", {"key": _encode("/")})["header"]
        self._call_etcd("kv/compaction", {"revision": header["revision"]})
        return int(header["revision"])

    def write_kubeconfig(self, name: str, user: str, group: str = "") -> Path:
        """Write a kubeconfig of a user with a client certificate."""
        return self.authority.write_kubeconfig(name, self.url, user, group)

    def write_inner_kubeconfig(self, name: str, user: str, group: str = "") -> Path:
        """Write one for a program on a node."""
        url = f"https://{self._inner_address}:{self._port}"
        return self.authority.write_kubeconfig(name, url, user, group)

    def write_account_kubeconfig(
        self, account: str, namespace: str = "default"
    ) -> Path:
        """Write a kubeconfig with a token of a service account."""
        token = self.kubectl("create", "token", account, namespace=namespace).strip()
        return self.authority.write_token_kubeconfig(
            f"{namespace}-{account}", self.url, token
        )

    def kubectl(
        self, *arguments: str | Path, text: str | None = None, namespace: str = ""
    ) -> str:
        """Run kubectl as the administrator and return what it prints."""
        return run(
            kubernetes_program("kubectl"),
            *("--kubeconfig", self.kubeconfig),
            *("--cache-dir", self.directory / "kubectl-cache"),
            *(("--namespace", namespace) if namespace else ()),
            *arguments,
            text=text,
        )

    def request(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> Object:
        """Call the API as the administrator; any thread may."""
        content = "application/json"
        if method == "PATCH":
            content = "application/merge-patch+json"
        response = self._pool.request(
            method,
            f"{self.url}{path}",
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": content},
        )
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.data.decode()}")
        answer: Object = json.loads(response.data)
        return answer

    def _is_ready(self) -> bool:
        try:
            answer = self._pool.request("GET", f"{self.url}/readyz", timeout=5)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200

    def _make_certificates(self) -> None:
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
        addresses = (self.address, self._inner_address, _SERVICE_ADDRESS)
        alternatives = (
            *(f"DNS:{name}" for name in ("localhost", *names)),
            *(f"IP:{address}" for address in dict.fromkeys(addresses)),
        )
        self.authority.sign("server", "kube-apiserver", names=alternatives)
        self.authority.sign("kubelet-client", "kube-apiserver", "system:masters")

    def _start_etcd(self) -> Program:
        client = f"http://{self.address}:{self._etcd_port}"
        peer = f"http://{self.address}:{self._etcd_peer_port}"
        arguments: list[str | Path] = [
            "etcd",
            *("--data-dir", _MEMORY / self.directory.name),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
            *("--logger", "zap", "--log-level", "warn"),
        ]
        return self._start(arguments, self.directory / "etcd.log")

    def _start_server(self) -> Program:
        directory = self.directory
        authority = self.authority
        arguments: list[str | Path] = [
            kubernetes_program("kube-apiserver"),
            *("--etcd-servers", f"http://{self.address}:{self._etcd_port}"),
            *("--bind-address", self.address, "--secure-port", str(self._port)),
            *("--service-cluster-ip-range", SERVICE_NETWORKS),
            *("--client-ca-file", authority.certificate),
            *("--tls-cert-file", directory / "server.crt"),
            *("--tls-private-key-file", directory / "server.key"),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
            *("--service-account-key-file", authority.service_account_key),
            *("--service-account-signing-key-file", authority.service_account_key),
            *("--kubelet-client-certificate", directory / "kubelet-client.crt"),
            *("--kubelet-client-key", directory / "kubelet-client.key"),
            *("--kubelet-preferred-address-types", "InternalIP"),
            *("--authorization-mode", "Node,RBAC"),
            *("--enable-admission-plugins", "NodeRestriction"),
            "--allow-privileged",
            *self._flags,
        ]
        return self._start(arguments, directory / "kube-apiserver.log")

    def _call_etcd(self, call: str, body: Object) -> Object:
        url = f"http://{self.address}:{self._etcd_port}/v3/{call}"
        response = self._pool.request("POST", url, body=json.dumps(body))
        if response.status != 200:
            raise RuntimeError(f"{call}: {response.data.decode()}")
        answer: Object = json.loads(response.data)
        return answer


class KubernetesControlPlane:
    """Only the API: objects are written and watched, and nobody acts on them.

    No service accounts are needed for pods. Leaving the context ends it.
    """

    def __init__(self) -> None:
        remove_left_directories()
        self.directory = make_directory()
        flags = (
            *("--disable-admission-plugins", "ServiceAccount"),
            *("--endpoint-reconciler-type", "none"),
        )
        ports = (free_port(), free_port(), free_port())
        self.api = ApiServer(self.directory, "127.0.0.1", ports, Program, flags)
        self.kubeconfig = self.api.kubeconfig
        try:
            self.api.wait_ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> KubernetesControlPlane:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and remove its files."""
        self.api.stop()
        remove_directory(self.directory)


def make_directory() -> Path:
    """Make a cluster's directory; paths of sockets in it are short enough."""
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{os.getpid()}-"))


def remove_directory(directory: Path) -> None:
    """Remove what ``make_directory`` made, with what etcd keeps."""
    shutil.rmtree(_MEMORY / directory.name, ignore_errors=True)
    shutil.rmtree(directory)


def remove_left_directories() -> None:
    """Remove the directories of test runs that were killed, and end who uses them."""
    with one_at_a_time("leftovers"):
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found = re.search(rf"/{_PREFIX}-(\d+)-".encode(), line.read_bytes())
            except OSError:  # it has just ended
                continue
            if found and not Path("/proc", found[1].decode()).exists():
                os.kill(int(line.parent.name), signal.SIGKILL)
        for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}-*"):
            if not Path("/proc", directory.name.split("-")[2]).exists():
                remove_directory(directory)


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
