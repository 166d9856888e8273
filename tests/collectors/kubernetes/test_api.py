import gzip
import logging
import socket
import threading
import time

import pytest
from tests.collectors.kubernetes.fake_api import Answer, FakeApi, failed, streamed
from tests.world.ports import free_port

from ebpf_net.collectors.kubernetes.access import Access, read_kubeconfig
from ebpf_net.collectors.kubernetes.api import ApiError, ApiServer
from ebpf_net.collectors.kubernetes.credentials import Credentials
from ebpf_net.errors import SettingError

ACCEPT = "application/json"


def api_of(fake: FakeApi, **access: object) -> ApiServer:
    known = Access(fake.url, **access)  # type: ignore[arg-type]
    return ApiServer(known, Credentials(known))


def test_a_request_says_who_asks(tmp_path):
    with FakeApi([Answer(b"{}")]) as fake:
        api = api_of(fake, token="t")
        assert api.get("/api/v1/pods", {"limit": "5"}) == b"{}"
        (request,) = fake.requests
        assert (request.path, request.query) == ("/api/v1/pods", {"limit": "5"})
        assert request.headers["Authorization"] == "Bearer t"
        api.close()


def test_a_path_before_the_servers_own_is_kept():
    with FakeApi([Answer(b"{}")]) as fake:
        access = Access(f"{fake.url}/k8s/clusters/c-1")
        api = ApiServer(access, Credentials(access))
        api.get("/api/v1/pods")
        assert fake.requests[0].path == "/k8s/clusters/c-1/api/v1/pods"
        api.close()


def test_an_answer_that_refuses_is_an_error():
    with FakeApi([failed(429, "slow down", Retry_After="7")]) as fake:
        api = api_of(fake)
        with pytest.raises(ApiError, match="slow down") as caught:
            api.get("/api/v1/pods")
        assert (caught.value.status, caught.value.retry_seconds) == (429, 7.0)
        api.close()


def test_a_proxys_page_is_an_error_as_well():
    with FakeApi([Answer(b"<html>", 502)]) as fake:
        api = api_of(fake)
        with pytest.raises(ApiError, match="HTTP status 502"):
            api.get("/api/v1/pods")
        api.close()


def test_an_expired_token_is_read_again(tmp_path):
    path = tmp_path / "token"
    path.write_text("old")

    class Rotating(Credentials):
        def refused(self) -> None:
            path.write_text("new")

    with FakeApi([failed(401), Answer(b"{}")]) as fake:
        access = Access(fake.url, token_file=path)
        api = ApiServer(access, Rotating(access))
        assert api.get("/api/v1/pods") == b"{}"
        tokens = [request.headers["Authorization"] for request in fake.requests]
        assert tokens == ["Bearer old", "Bearer new"]
        api.close()


def test_a_server_that_is_away_is_an_error_without_a_status():
    access = Access(f"http://127.0.0.1:{free_port()}")
    api = ApiServer(access, Credentials(access))
    with pytest.raises(ApiError, match="refused") as caught:
        api.get("/api/v1/pods")
    assert caught.value.status == 0
    assert api.status() == {"signal.kubernetes_api.answers": 0}


def test_a_server_that_goes_and_comes_is_said_once_each(caplog):
    caplog.set_level(logging.INFO)
    with FakeApi([Answer(b"{}")] * 2) as fake:
        away = Access(f"http://127.0.0.1:{free_port()}")
        api = ApiServer(away, Credentials(away))
        for _ in range(2):
            with pytest.raises(ApiError):
                api.get("/api/v1/pods")
        api.access = Access(fake.url)
        for _ in range(2):
            api.get("/api/v1/pods")
        api.close()
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"cannot ask the API server at {away.server}: ")
    assert second == f"the API server at {fake.url} answers again"


def test_a_token_that_is_missing_is_an_error_without_a_status(tmp_path):
    with FakeApi() as fake, pytest.raises(ApiError, match="cannot read"):
        api_of(fake, token_file=tmp_path / "none").get("/api/v1/pods")


def test_lines_of_a_watch_are_whole():
    cut = streamed(b'{"a":1}\n{"b"', b':2}\n\n{"c":3}\n{"d"')
    with FakeApi([cut]) as fake:
        api = api_of(fake)
        with api.watch("/api/v1/pods", {}, ACCEPT, 60) as watch:
            assert list(watch.lines()) == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
        api.close()


def test_a_watch_that_breaks_off_is_an_error_after_its_lines():
    with FakeApi([streamed(b'{"a":1}\n', then="break")]) as fake:
        api = api_of(fake)
        lines = []
        watch = api.watch("/api/v1/pods", {}, ACCEPT, 60)
        with watch, pytest.raises(ApiError) as caught:
            lines.extend(watch.lines())
        assert (lines, caught.value.status) == ([b'{"a":1}'], 0)
        api.close()


def test_a_watch_can_be_ended_by_another_thread():
    with FakeApi([streamed(b'{"a":1}\n', then="hold")]) as fake:
        api = api_of(fake)
        lines: list[bytes] = []
        with api.watch("/api/v1/pods", {}, ACCEPT, 60) as watch:
            first = threading.Event()

            def read() -> None:
                for line in watch.lines():
                    lines.append(line)
                    first.set()

            thread = threading.Thread(target=read)
            thread.start()
            assert first.wait(10)
            watch.close()
            thread.join(10)
            assert not thread.is_alive()
        assert lines == [b'{"a":1}']
        api.close()


def test_certificates_of_a_real_server_are_checked(control_plane):
    access = read_kubeconfig((control_plane.kubeconfig,))
    api = ApiServer(access, Credentials(access))
    assert b"v1.36" in api.get("/version")
    assert b'"NamespaceList"' in api.get("/api/v1/namespaces")
    api.close()


def test_a_real_server_of_another_authority_is_refused(control_plane):
    access = Access(control_plane.api.url)
    api = ApiServer(access, Credentials(access))
    with pytest.raises(ApiError, match="certificate verify failed"):
        api.get("/version")
    access = Access(control_plane.api.url, insecure=True)
    api = ApiServer(access, Credentials(access))
    assert b"v1.36" in api.get("/version")
    api.close()


def test_certificates_that_cannot_be_used_are_said_at_once(tmp_path):
    access = Access("https://127.0.0.1", ca_file=tmp_path / "none")
    with pytest.raises(SettingError, match="cannot use the cluster's certificates"):
        ApiServer(access, Credentials(access))


def zipped(body: bytes) -> Answer:
    return Answer(gzip.compress(body, mtime=0), headers={"Content-Encoding": "gzip"})


def test_a_compressed_answer_is_read_over_a_connection_that_stays():
    with FakeApi([zipped(b"x" * 300_000), Answer(b""), Answer(b"{}")]) as fake:
        api = api_of(fake)
        assert api.get("/api/v1/pods") == b"x" * 300_000
        assert [api.get("/api/v1/pods") for _ in range(2)] == [b"", b"{}"]
        assert len({request.client for request in fake.requests}) == 1
        api.close()


@pytest.mark.parametrize("answer", [zipped(b"x" * 2000), Answer(b"x" * 2000)])
def test_an_answer_that_is_too_long_is_an_error(answer):
    with FakeApi([answer]) as fake:
        access = Access(fake.url)
        api = ApiServer(access, Credentials(access), max_body_bytes=1999)
        with pytest.raises(ApiError, match="beyond 1999 bytes") as caught:
            api.get("/api/v1/pods")
        assert caught.value.is_answer
        api.close()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (gzip.compress(b"{}", mtime=0)[:-1], "breaks off"),
        (gzip.compress(b"{}", mtime=0) + b"more", "after its end"),
        (b"no gzip", "incorrect header"),
    ],
)
def test_an_answer_that_is_compressed_wrongly_is_an_error(body, message):
    with FakeApi([Answer(body, headers={"Content-Encoding": "gzip"})]) as fake:
        api = api_of(fake)
        with pytest.raises(ApiError, match=message):
            api.get("/api/v1/pods")
        api.close()


def test_an_error_with_too_long_a_text_has_its_status():
    with FakeApi([failed(500, "x" * (2 << 20))]) as fake:
        api = api_of(fake)
        with pytest.raises(ApiError, match="HTTP status 500"):
            api.get("/api/v1/pods")
        api.close()


def test_an_answer_that_drips_ends_when_its_time_is_over():
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                try:
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
                    )
                    while not over.wait(0.01):
                        connection.sendall(b" ")
                except OSError:
                    over.set()

        thread = threading.Thread(target=drip)
        thread.start()
        access = Access(f"http://127.0.0.1:{server.getsockname()[1]}")
        api = ApiServer(access, Credentials(access))
        began = time.monotonic()
        with pytest.raises(ApiError, match="does not end"):
            api.get("/api/v1/pods", seconds=0.3)
        assert time.monotonic() - began < 5
        over.set()
        thread.join(10)
        api.close()


@pytest.mark.parametrize("token", ["a\r\nX: y", "\u20ac", "\ud800"])
def test_a_token_that_is_no_header_is_an_error(token):
    with FakeApi() as fake, pytest.raises(ApiError, match="characters"):
        api_of(fake, token=token).get("/api/v1/pods")


def test_a_name_that_cannot_be_sent_is_an_error():
    with FakeApi() as fake, pytest.raises(ApiError):
        api_of(fake, username="\ud800").get("/api/v1/pods")
