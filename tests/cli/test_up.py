"""``ebpf-net up`` as a user starts it. Needs root and BPF."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

UP_MAIN = "import sys; from ebpf_net.cli import main; sys.exit(main())"
CONNECTIONS = 23
BYTES = 1009


@pytest.fixture(autouse=True)
def _needs_root():
    if os.geteuid() != 0 and os.environ.get("EBPF_NET_RUN_BPF_TESTS") != "1":
        pytest.skip("needs root")


def start(tmp_path, *arguments):
    return subprocess.Popen(
        [
            sys.executable, "-c", UP_MAIN, "up", "--data-dir", str(tmp_path / "data"),
            "--no-log-file", "--prom", "127.0.0.1:0", "--internal-prom", "127.0.0.1:0",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def make_traffic():
    """So many connections of so many bytes to a listener of a name of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(CONNECTIONS):
            with socket.create_connection(listener.getsockname()) as client:
                server, _ = listener.accept()
                client.sendall(b"x" * BYTES)
                client.shutdown(socket.SHUT_WR)
                while server.recv(65536):
                    pass
                server.close()
                assert client.recv(1) == b""


def own_edges(stream, name):
    """Yield what is told of edges from this process to itself."""
    for line in stream:
        edge = json.loads(line)
        ends = {edge.get(f"{end}.process.name") for end in ("source", "dest")}
        if ends == {name}:
            yield edge


@pytest.fixture
def name():
    """A process name that no other process has at this moment."""
    comm = f"up-{os.getpid()}"
    with open("/proc/self/comm", "r+", encoding="ascii") as file:
        before = file.read().strip()
        file.write(comm)
    yield comm
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(before)


def test_json_lines_tell_the_traffic_and_ctrl_c_ends_it(tmp_path, name):
    with start(tmp_path, "--output", "json") as up:
        first = up.stdout.readline()  # its own traffic to the reducer: it is up
        assert json.loads(first)["aggregation"] == "id_id"
        make_traffic()
        opened = sent = 0
        for edge in own_edges(up.stdout, name):
            opened += edge["tcp.new_sockets"]
            sent += edge["tcp.bytes"]
            if opened >= 2 * CONNECTIONS:
                break
        rest = threading.Thread(target=up.stdout.read)
        rest.start()
        up.send_signal(signal.SIGINT)
        told = up.stderr.read()
        rest.join()
        assert (up.wait(30), told) == (0, "")
    # Both ends are this process: a connection is a new socket in both directions.
    assert (opened, sent) == (2 * CONNECTIONS, CONNECTIONS * BYTES)
    # A reducer may have the same data directory.
    states = list((tmp_path / "data").rglob("reducer.state"))
    assert states == [tmp_path / "data" / "up" / "reducer.state"]


def test_closed_pipe_ends_it(tmp_path):
    with start(tmp_path, "--output", "plain") as up:
        up.stdout.readline()
        up.stdout.close()
        told = up.stderr.read()
        assert (up.wait(30), told) == (0, "")


def test_collector_that_cannot_start_is_one_line_and_exit_code_1(tmp_path):
    nothing = ("--disable-tcp", "--disable-udp", "--output", "plain")
    with start(tmp_path, *nothing) as up:
        _, told = up.communicate(timeout=30)
    assert up.returncode == 1
    assert told.startswith("error: both TCP and UDP are disabled")
    assert "Traceback" not in told
