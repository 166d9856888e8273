import contextlib
import time
from pathlib import Path

import pytest
from tests.collectors.kernel.runtime_servers import raw_server

from ebpf_net.collectors.kernel.unix_socket import (
    UnixSocket,
    find_place,
    socket_places,
)


def test_bytes_are_received(tmp_path):
    with (
        raw_server(tmp_path / "a.sock", b"abc") as path,
        contextlib.closing(UnixSocket(path, 10.0)) as connection,
    ):
        buffer = bytearray(2)
        assert connection.recv_into(buffer) == 2
        assert (buffer, connection.recv(10)) == (b"ab", b"c")


def test_a_peer_that_sends_byte_by_byte_gains_no_time(tmp_path):
    began = time.monotonic()
    with (
        raw_server(tmp_path / "a.sock", bytes(10_000), 0.01) as path,
        contextlib.closing(UnixSocket(path, 0.2)) as connection,
        pytest.raises(TimeoutError),
    ):
        all(connection.recv(1) for _ in range(10_000))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["missing", "file", "x" * 200])
def test_what_is_no_socket_is_an_error(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"\S"):
        UnixSocket(tmp_path / name, 1.0)


def test_no_time_left_is_a_time_out(tmp_path):
    with pytest.raises(TimeoutError):
        UnixSocket(tmp_path / "missing", 0.0)


def test_the_first_place_with_something_is_taken(tmp_path):
    (tmp_path / "b").touch()
    assert find_place((tmp_path / "a", tmp_path / "b")) == tmp_path / "b"
    assert find_place((tmp_path / "a",)) is None
    assert find_place(()) is None


def test_the_hosts_directory_comes_first_and_var_run_is_run_too():
    paths = (Path("/var/run/docker.sock"),)
    assert socket_places(paths, Path("/hostfs")) == (
        Path("/hostfs/var/run/docker.sock"),
        Path("/hostfs/run/docker.sock"),
        Path("/var/run/docker.sock"),
        Path("/run/docker.sock"),
    )


def test_a_relative_path_is_the_users():
    assert socket_places((Path("a.sock"),), Path("/hostfs")) == (Path("a.sock"),)
    assert socket_places((Path("/a.sock"),), None) == (Path("/a.sock"),)
