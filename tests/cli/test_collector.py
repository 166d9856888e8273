import subprocess
import sys
from pathlib import Path

import pytest

from ebpf_net.cli.collector import client_options, collector_options, run
from ebpf_net.collectors.kernel import podman
from ebpf_net.collectors.kernel.container_runtimes import RuntimeSockets
from ebpf_net.errors import SettingError
from ebpf_net.settings import KERNEL_COLLECTOR, load


def settings(*arguments, **environment):
    return load(KERNEL_COLLECTOR, arguments, environment=environment)


def test_needs_none_of_what_only_the_reducer_needs():
    script = (
        "import sys, ebpf_net.cli.collector; "
        "print(sorted({'pyarrow', 'duckdb', 'grpc', 'rich', 'uvicorn', 'starlette'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_reducer_is_where_the_variables_say():
    options = client_options(
        settings(EBPF_NET_INTAKE_HOST="fd00::1", EBPF_NET_INTAKE_PORT="99")
    )
    assert (options.host, options.port, options.tls) == ("fd00::1", 99, False)


def test_naming_an_authority_means_tls():
    options = client_options(settings("--intake-ca", "/ca.pem"))
    assert options.tls
    assert options.tls_ca == Path("/ca.pem")


def test_labels_of_the_agent_reach_the_hosts_table():
    options = collector_options(
        settings(
            EBPF_NET_AGENT_HOST="h",
            EBPF_NET_AGENT_ZONE="z",
            EBPF_NET_AGENT_CLUSTER="c",
            EBPF_NET_AGENT_NAMESPACE="n",
            EBPF_NET_AGENT_SERVICE="s",
        )
    )
    row = {name: next(iter(values)) for name, values in options.host.columns().items()}
    assert (row["host_id"], row["zone"], row["environment"]) == ("h", "z", "c")
    assert (row["namespace"], row["service"]) == ("n", "s")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--disable-tcp", "--disable-udp"), "nothing to collect"),
        (("--ring-bytes", "1000000"), "expected a power of two"),
        (("--ring-bytes", "4096"), "expected a power of two"),
    ],
)
def test_what_cannot_be_collected_is_one_clear_error(arguments, message):
    with pytest.raises(SettingError, match=message):
        run(settings(*arguments))


def test_container_runtimes_are_asked_at_their_usual_sockets():
    sockets = collector_options(settings()).container_sockets
    assert sockets.docker == (Path("/var/run/docker.sock"),)
    assert sockets.containerd[0] == Path("/run/containerd/containerd.sock")
    assert sockets.crio == (Path("/run/crio/crio.sock"),)
    assert sockets.podman == (Path("/run/podman/podman.sock"), podman.STORAGE)


def test_a_socket_that_is_given_is_the_only_one():
    options = collector_options(settings("--containerd-socket", "/a.sock"))
    assert options.container_sockets.containerd == (Path("/a.sock"),)


def test_runtimes_need_not_be_asked():
    options = collector_options(settings("--disable-docker-metadata"))
    assert options.container_sockets.docker == ()
    assert options.container_sockets.podman != ()
    options = collector_options(settings("--disable-container-metadata"))
    assert options.container_sockets == RuntimeSockets()


def test_whom_the_firmware_names_is_asked_unless_something_else_is_said():
    options = collector_options(settings()).instance_metadata
    assert (options.cloud, options.timeout_seconds) == ("auto", 1.0)
    assert not options.allow_version_1
    options = collector_options(
        settings(
            *("--cloud-metadata", "aws", "--allow-imdsv1"),
            *("--cloud-metadata-timeout-ms", "250"),
        )
    ).instance_metadata
    assert (options.cloud, options.timeout_seconds) == ("aws", 0.25)
    assert options.allow_version_1
