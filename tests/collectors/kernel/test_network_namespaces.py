"""Which network namespaces are found, in a /proc of the test's own."""

from pathlib import Path

import pytest

from ebpf_net.collectors.kernel.network_namespaces import (
    Namespace,
    NetworkNamespaces,
)


class Host:
    """Files that stand for a host: namespaces are files, and have their inodes."""

    def __init__(self, root: Path) -> None:
        self.proc, self.named = root / "proc", root / "netns"
        self._root = root
        self.proc.mkdir()
        self.named.mkdir()
        (self.proc / "uptime").write_text("")

    def namespace(self, name: str) -> int:
        file = self._root / name
        file.touch()
        return file.stat().st_ino

    def process(self, pid: int, namespace: str, cgroup: str = "/") -> None:
        directory = self.proc / str(pid)
        (directory / "ns").mkdir(parents=True, exist_ok=True)
        link = directory / "ns" / "net"
        link.unlink(missing_ok=True)
        link.symlink_to(self._root / namespace)
        (directory / "cgroup").write_text(f"1:cpu:/x\n0::{cgroup}\n")

    def name(self, namespace: str) -> None:
        (self.named / namespace).symlink_to(self._root / namespace)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_those_of_processes_and_named_ones_are_found_once(host: Host) -> None:
    own, pod, router = (host.namespace(name) for name in ("own", "pod", "router"))
    host.process(1, "own")
    host.process(2, "own")
    host.process(3, "pod")
    host.name("pod")
    host.name("router")
    namespaces = NetworkNamespaces(10, None, host.proc, host.named)
    assert set(namespaces.find()) == {own, pod, router}
    assert namespaces.host == own
    assert namespaces.left_out == 0


def test_host_is_that_of_the_first_process_or_else_our_own(host: Host) -> None:
    own, pod = host.namespace("own"), host.namespace("pod")
    host.process(7, "pod")
    (host.proc / "self").symlink_to(host.proc / "7")
    ours = NetworkNamespaces(10, None, host.proc, host.named)
    assert (ours.host, ours.host_file) == (pod, f"{host.proc}/self/ns/net")
    host.process(1, "own")
    other = NetworkNamespaces(10, None, host.proc, host.named)
    assert (other.host, other.host_file) == (own, f"{host.proc}/1/ns/net")


def only_pods(path: str | None) -> bool:
    return bool(path) and path.startswith("/kubepods")


def filtered(host: Host, limit: int = 10, *, only_wanted: bool) -> NetworkNamespaces:
    return NetworkNamespaces(
        limit, only_pods, host.proc, host.named, only_wanted=only_wanted
    )


def test_a_namespace_is_wanted_if_one_of_its_processes_is(host: Host) -> None:
    own, shared, pod, router = map(host.namespace, ("own", "shared", "pod", "router"))
    host.process(1, "own", "/init")
    host.process(2, "shared", "/init")
    host.process(3, "shared", "/kubepods/a")
    host.process(4, "pod", "/kubepods/b")
    host.name("pod")
    host.name("router")
    assert filtered(host, only_wanted=False).find() == {
        shared: Namespace(f"{host.proc}/3/ns/net", is_wanted=True),
        pod: Namespace(f"{host.proc}/4/ns/net", is_wanted=True),
        own: Namespace(f"{host.proc}/1/ns/net", is_wanted=False),
        router: Namespace(f"{host.named}/router", is_wanted=False),
    }


def test_only_those_with_a_wanted_process_if_asked(host: Host) -> None:
    pod = host.namespace("pod")
    host.namespace("own")
    host.process(1, "own", "/init")
    host.process(2, "pod", "/kubepods/a")
    host.name("own")
    namespaces = filtered(host, only_wanted=True)
    assert namespaces.find() == {
        pod: Namespace(f"{host.proc}/2/ns/net", is_wanted=True)
    }
    assert namespaces.left_out == 0


def test_the_limit_leaves_out_unwanted_ones_first(host: Host) -> None:
    own, pod = host.namespace("own"), host.namespace("pod")
    host.process(1, "own", "/init")
    host.process(2, "pod", "/kubepods/a")
    namespaces = filtered(host, limit=1, only_wanted=False)
    assert set(namespaces.find()) == {pod}
    assert namespaces.left_out == 1
    assert namespaces.host == own


def test_beyond_the_limit_they_are_counted(host: Host) -> None:
    for number in range(1, 6):
        host.namespace(f"n{number}")
        host.process(number, f"n{number}")
    namespaces = NetworkNamespaces(3, None, host.proc, host.named)
    assert len(namespaces.find()) == 3
    assert namespaces.left_out == 2


def test_process_that_moves_is_found_after_some_windows(host: Host) -> None:
    host.namespace("own")
    pod = host.namespace("pod")
    host.process(5, "own")
    namespaces = NetworkNamespaces(3, None, host.proc, host.named)
    namespaces.find()
    host.process(5, "pod")
    assert any(pod in namespaces.find() for _ in range(6))


def test_process_that_moved_is_found_at_once_when_its_namespace_is_forgotten(
    host: Host,
) -> None:
    own, pod = host.namespace("own"), host.namespace("pod")
    host.process(5, "own")
    namespaces = NetworkNamespaces(3, None, host.proc, host.named)
    namespaces.find()
    host.process(5, "pod")
    assert set(namespaces.find()) == {own}
    namespaces.forget(own)
    assert set(namespaces.find()) == {pod}


def test_what_must_not_be_read_is_nothing(tmp_path: Path) -> None:
    namespaces = NetworkNamespaces(3, None, tmp_path, tmp_path / "none")
    assert namespaces.find() == {}
    assert namespaces.host == 0
