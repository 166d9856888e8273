import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from ebpf_net.cli.reducer import enabled_levels, intake_options
from ebpf_net.settings import REDUCER, load

REDUCER_MAIN = (
    "import sys; from ebpf_net.cli import reducer_main; sys.exit(reducer_main())"
)


def settings(*arguments):
    return load(REDUCER, arguments, environment={})


def start(tmp_path, *arguments):
    return subprocess.Popen(
        [
            sys.executable, "-c", REDUCER_MAIN, "--data-dir", str(tmp_path / "data"),
            "--no-log-file", "--log-console", "--port", "0", *arguments,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def read_until(stream, text):
    for line in stream:
        if text in line:
            return line
    raise AssertionError(f"{text!r} was never logged")


@pytest.mark.parametrize(
    ("arguments", "levels"),
    [
        ((), ("az_az",)),
        (("--enable-id-id",), ("id_id", "az_az")),
        (("--enable-az-id",), ("az_id", "id_az", "az_az")),
    ],
)
def test_levels_are_those_of_the_reference(arguments, levels):
    assert enabled_levels(settings(*arguments)) == levels


def test_intake_listens_on_loopback_only_by_default():
    assert intake_options(settings()).host == ""


def test_internal_metrics_are_served_and_sigterm_ends_it(tmp_path):
    ephemeral = ("--prom", "127.0.0.1:0", "--internal-prom", "127.0.0.1:0")
    with start(tmp_path, *ephemeral) as reducer:
        line = read_until(reducer.stderr, "--internal-prom")
        read_until(reducer.stderr, "listening for collectors on ::1")
        with urllib.request.urlopen(line.split()[-1]) as answer:
            assert 'ebpf_net_up{module="reducer"} 1' in answer.read().decode()
        reducer.send_signal(signal.SIGTERM)
        assert reducer.wait(20) == 0


def test_port_in_use_is_one_line_and_a_hint(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with start(tmp_path, "--prom", f"127.0.0.1:{port}") as reducer:
            _, told = reducer.communicate(timeout=30)
    assert reducer.returncode == 1
    assert told == (
        f"error: --prom: port {port} on 127.0.0.1 is in use\n"
        "hint: stop the program that has it, or choose another with --prom HOST:PORT\n"
    )


def test_listening_beyond_loopback_without_a_secret_is_refused(tmp_path):
    open_to_all = ("--listen-host", "0.0.0.0", "--disable-prometheus-metrics")
    with start(tmp_path, *open_to_all) as reducer:
        _, told = reducer.communicate(timeout=30)
    assert reducer.returncode == 1
    assert told == (
        "error: the intake would listen on 0.0.0.0 and take data from anybody\n"
        "hint: set a TLS certificate or a token file, or allow it with "
        "--allow-insecure-intake\n"
    )


@pytest.mark.parametrize(
    ("flag", "content", "told"),
    [
        ("--networks-file", "10.0.0.0/8", "line 1: '10.0.0.0/8' has no name behind"),
        ("--networks-file", "10.0.0.1/8 a", "line 1: 10.0.0.1/8 has host bits set"),
        ("--intake-token-file", "", "is empty"),
        ("--intake-ca", "nothing", "has no certificate in PEM format"),
        ("--geoip-path", "nothing", "is not in MaxMind's format"),
        ("--price-file", "currency: USD", "has no unit"),
    ],
)
def test_file_that_cannot_be_right_ends_the_start_before_a_port_is_opened(
    tmp_path, flag, content, told
):
    path = tmp_path / "names"
    path.write_text(content)
    arguments = ("--prom", "127.0.0.300:1", flag, str(path))  # which is not reached
    with start(tmp_path, *arguments) as reducer:
        _, errors = reducer.communicate(timeout=60)
    assert reducer.returncode == 1
    assert errors.startswith(f"error: cannot use {flag} {path}: ")
    assert told in errors
