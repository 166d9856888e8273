import contextlib
import time

import grpc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.collectors.kernel.runtime_servers import grpc_server, raw_server

from ebpf_net.collectors.kernel.container_api import ApiError
from ebpf_net.collectors.kernel.grpc_client import NOT_FOUND, GrpcError, call

SETTINGS = bytes.fromhex("000000040000000000")
PING = bytes.fromhex("0000080600000000000102030405060708")


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_a_call_has_its_answer(tmp_path, size):
    calls = []

    def answer(method, request, metadata, context):
        calls.append((method, request, metadata["tenant"]))
        return bytes(size)

    with grpc_server(tmp_path / "a.sock", answer):
        answered = call(tmp_path / "a.sock", "/a.B/C", b"request", 10, {"tenant": "x"})
    assert answered == bytes(size)
    assert calls == [("/a.B/C", b"request", "x")]


def test_an_error_has_its_status(tmp_path):
    def answer(method, request, metadata, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such container")

    with (
        grpc_server(tmp_path / "a.sock", answer),
        pytest.raises(GrpcError, match="no such container") as raised,
    ):
        call(tmp_path / "a.sock", "/a.B/C", b"", 10)
    assert raised.value.status == NOT_FOUND


def test_an_answer_that_is_too_large_is_an_error(tmp_path):
    def answer(method, request, metadata, context):
        return bytes((4 << 20) + 1)

    with (
        grpc_server(tmp_path / "a.sock", answer),
        pytest.raises(ApiError, match="larger than"),
    ):
        call(tmp_path / "a.sock", "/a.B/C", b"", 10)


def test_a_runtime_that_hangs_is_given_up_in_time(tmp_path):
    began = time.monotonic()
    with (
        raw_server(tmp_path / "a.sock", SETTINGS + PING * 100, 0.001) as path,
        pytest.raises(TimeoutError),
    ):
        call(path, "/a.B/C", b"", 0.2)
    assert time.monotonic() - began < 5


def test_pings_without_end_are_given_up(tmp_path):
    with (
        raw_server(tmp_path / "a.sock", SETTINGS + PING * 300_000) as path,
        pytest.raises((OSError, ApiError), match=r"timed out|larger than"),
    ):
        call(path, "/a.B/C", b"", 1)


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=100))
@example(b"HTTP/1.1 400 Bad Request\r\n\r\n")
@example(SETTINGS + bytes.fromhex("000004030000000001") + bytes(4))  # reset
@example(SETTINGS + bytes.fromhex("000008070000000000") + bytes(8))  # go away
@example(SETTINGS + bytes.fromhex("0000010104000000018f"))  # no such header
def test_random_bytes_raise_only_what_is_told(tmp_path, content):
    (tmp_path / "a.sock").unlink(missing_ok=True)
    with (
        raw_server(tmp_path / "a.sock", content) as path,
        contextlib.suppress(OSError, ApiError),
    ):
        call(path, "/a.B/C", b"", 0.05)
