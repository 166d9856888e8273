import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
import pytest
from tests.collectors.kernel.runtime_servers import (
    grpc_server,
    http_server,
    raw_server,
    wait_for,
)

from ebpf_net.collectors.kernel.container_details import ContainerQuestion
from ebpf_net.collectors.kernel.container_runtimes import (
    CONTAINERD_SOCKETS,
    ContainerRuntimes,
    RuntimeSockets,
)
from ebpf_net.collectors.kernel.protobuf_fields import write_field

ID = "3f1c0a2be5d74986" * 4
ANSWER = json.dumps({"Name": "/web"}).encode()


@pytest.fixture
def make_runtimes():
    made = []

    def make(host_dir=None, **sockets):
        places = {name: (path,) for name, path in sockets.items()}
        made.append(ContainerRuntimes(RuntimeSockets(**places), host_dir))
        return made[-1]

    yield make
    for runtimes in made:
        runtimes.stop()


def ask(runtimes, question):
    runtimes.ask(question)
    runtimes.wait_answers(60.0)
    return [details.runtime for _, details in runtimes.take_answers()]


def answer_status(method, request, metadata, context):
    status = write_field(2, write_field(1, "app"))
    return write_field(1, status) if "runtime.v1" in method else b""


def test_the_runtime_that_the_path_names_is_asked(make_runtimes, tmp_path):
    with (
        http_server(tmp_path / "docker") as docker,
        http_server(tmp_path / "podman") as podman,
    ):
        runtimes = make_runtimes(docker=docker.path, podman=podman.path)
        docker.answers = [(200, ANSWER)]
        podman.answers = [(200, ANSWER)]
        assert ask(runtimes, ContainerQuestion(ID, "podman")) == ["podman"]
        assert ask(runtimes, ContainerQuestion(ID, "docker")) == ["docker"]
        assert len(docker.asked) == len(podman.asked) == 1


def test_all_are_asked_where_the_path_names_none(make_runtimes, tmp_path):
    with (
        http_server(tmp_path / "docker") as docker,
        grpc_server(tmp_path / "crio", answer_status),
    ):
        runtimes = make_runtimes(docker=docker.path, crio=tmp_path / "crio")
        assert ask(runtimes, ContainerQuestion(ID)) == ["crio"]
        assert len(docker.asked) == 1


def test_a_cgroup_without_an_id_may_only_be_containerds(make_runtimes, tmp_path):
    with (
        http_server(tmp_path / "docker") as docker,
        grpc_server(tmp_path / "containerd", answer_status),
    ):
        runtimes = make_runtimes(docker=docker.path, containerd=tmp_path / "containerd")
        assert ask(runtimes, ContainerQuestion("", path="/shop/web")) == []
        assert docker.asked == []
        assert set(runtimes.status().values()) == {0}


def test_sockets_are_looked_for_below_the_hosts_directory(make_runtimes, tmp_path):
    (tmp_path / "var/run").mkdir(parents=True)
    with http_server(tmp_path / "var/run/docker.sock") as docker:
        docker.answers = [(200, ANSWER)]
        runtimes = make_runtimes(tmp_path, docker=Path("/var/run/docker.sock"))
        assert ask(runtimes, ContainerQuestion(ID, "docker")) == ["docker"]


def test_one_that_hangs_keeps_no_other_from_answering(make_runtimes, tmp_path):
    with (
        raw_server(tmp_path / "docker", b"") as docker,
        http_server(tmp_path / "podman") as podman,
    ):
        podman.answers = [(200, ANSWER)] * 2
        runtimes = make_runtimes(docker=docker, podman=podman.path)
        began = time.monotonic()
        runtimes.ask(ContainerQuestion(ID))
        runtimes.wait_answers(0.01)
        assert wait_for(runtimes.take_answers)[0][1].name == "web"
        assert ask(runtimes, ContainerQuestion(ID, "podman")) == ["podman"]
        runtimes.stop()
        assert time.monotonic() - began < 4


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_socket_that_may_not_be_used_is_told_once():
    script = """
import logging, os, pathlib, sys
from ebpf_net.collectors.kernel.container_details import ContainerQuestion
from ebpf_net.collectors.kernel.container_runtimes import *
logging.basicConfig()
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
path = pathlib.Path(sys.argv[1])
runtimes = ContainerRuntimes(RuntimeSockets(docker=(path,), podman=(path,)))
for container in ("a", "b"):
    runtimes.ask(ContainerQuestion(container))
    runtimes.wait_answers(10)
runtimes.stop()
"""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        with http_server(Path(directory, "docker.sock")) as docker:
            os.chmod(docker.path, 0o600)
            done = subprocess.run(
                [sys.executable, "-c", script, docker.path],
                capture_output=True,
                text=True,
                check=True,
            )
    lines = sorted(done.stderr.splitlines())
    assert len(lines) == 2
    assert "docker cannot be asked" in lines[0]
    assert "podman cannot be asked" in lines[1]
    assert all("Permission denied" in line for line in lines)


def test_failures_are_counted_by_runtime(make_runtimes, tmp_path):
    with http_server(tmp_path / "docker") as docker:
        docker.answers = [(500, b"")]
        runtimes = make_runtimes(docker=docker.path)
        ask(runtimes, ContainerQuestion(ID, "docker"))
        assert runtimes.status()["docker.failures"] == 1
        assert runtimes.status()["podman.failures"] == 0


def test_what_is_too_long_is_counted_by_runtime(make_runtimes, tmp_path):
    with http_server(tmp_path / "docker") as docker:
        docker.answers = [(200, json.dumps({"Name": "w" * 5000}).encode())]
        runtimes = make_runtimes(docker=docker.path)
        assert ask(runtimes, ContainerQuestion(ID, "docker")) == ["docker"]
        assert runtimes.status()["docker.cut"] == 1
        assert runtimes.status()["podman.cut"] == 0


def test_a_container_beyond_the_namespaces_that_are_asked_is_counted(
    make_runtimes, tmp_path
):
    def answer(method, request, metadata, context):
        if method.endswith("Namespaces/List"):
            names = (write_field(1, write_field(1, f"n{at}")) for at in range(17))
            return b"".join(names)
        return context.abort(grpc.StatusCode.NOT_FOUND, "not found")

    with grpc_server(tmp_path / "containerd", answer):
        runtimes = make_runtimes(containerd=tmp_path / "containerd")
        assert ask(runtimes, ContainerQuestion(ID, "containerd")) == []
        assert runtimes.status()["lost.containerd_namespaces_limit"] == 1
        assert runtimes.status()["containerd.failures"] == 0


def test_containerd_is_looked_for_where_distributions_of_kubernetes_have_it():
    assert "/run/k3s/containerd/containerd.sock" in map(str, CONTAINERD_SOCKETS)
