import contextlib
import http.server
import json
import socket
import socketserver
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.kernel.cgroups import ContainerDetails
from ebpf_net.collectors.kernel.docker import (
    DockerApi,
    fetch_details,
    parse_details,
    split_image,
)

ID = "3f1c0a2be5d74986" * 4
ANSWER = {
    "Id": ID,
    "Name": "/web",
    "Config": {"Image": "nginx:1.27", "Labels": {"tier": "front"}},
}
DETAILS = ContainerDetails("web", "nginx", "1.27", {"tier": "front"})


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        status, body = self.server.answers.pop(0) if self.server.answers else (404, b"")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "docker"

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture
def docker(tmp_path):
    with Server(str(tmp_path / "docker.sock"), Handler) as server:
        server.asked, server.answers = [], []
        server.path = tmp_path / "docker.sock"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def running(api):
    api.start()
    try:
        yield api
    finally:
        api.stop()


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return result


def test_name_image_and_labels_come_from_the_api(docker):
    docker.answers.append((200, json.dumps(ANSWER).encode()))
    assert fetch_details(docker.path, ID, 5.0) == DETAILS
    assert docker.asked == [f"/containers/{ID}/json"]


def test_a_container_that_docker_does_not_know_has_no_details(docker):
    assert fetch_details(docker.path, ID, 5.0) is None


def test_answers_come_while_the_caller_does_other_things(docker):
    docker.answers.append((200, json.dumps(ANSWER).encode()))
    with running(DockerApi(docker.path)) as api:
        api.ask(ID)
        assert wait_for(api.take_answers) == [(ID, DETAILS)]
        assert api.take_answers() == []
        assert api.failures == 0


def test_a_failure_is_counted_and_asked_again(docker):
    docker.answers += [
        (500, b""),
        (200, b"no json"),
        (200, json.dumps(ANSWER).encode()),
    ]
    with running(DockerApi(docker.path, first_delay_seconds=0.01)) as api:
        api.ask(ID)
        assert wait_for(api.take_answers) == [(ID, DETAILS)]
        assert (api.failures, api.dropped) == (2, 0)


def test_a_question_is_given_up_after_some_failures(docker):
    docker.answers += [(500, b"")] * 100
    with running(DockerApi(docker.path, first_delay_seconds=0.0001)) as api:
        api.ask(ID)
        wait_for(lambda: api.dropped)
        assert (api.failures, api.dropped) == (8, 1)


def test_questions_beyond_the_queue_are_dropped_and_counted(tmp_path):
    api = DockerApi(tmp_path / "docker.sock")
    for _ in range(1030):
        api.ask(ID)
    assert api.dropped == 6


def test_the_first_answers_can_be_waited_for(docker):
    docker.answers += [(200, json.dumps(ANSWER).encode())] * 5
    with running(DockerApi(docker.path)) as api:
        for _ in range(5):
            api.ask(ID)
        api.wait_answers(60.0)
        assert api.take_answers() == [(ID, DETAILS)] * 5


def test_a_docker_that_fails_is_not_waited_for(docker):
    docker.answers.append((500, b""))
    began = time.monotonic()
    with running(DockerApi(docker.path, first_delay_seconds=60.0)) as api:
        api.ask(ID)
        wait_for(lambda: api.failures)
        api.ask(ID)
        api.wait_answers(60.0)
    assert time.monotonic() - began < 10


def test_a_docker_that_hangs_is_waited_for_no_longer_than_told(tmp_path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "docker.sock"))
        silent.listen()
        api = DockerApi(tmp_path / "docker.sock", timeout_seconds=0.5)
        with running(api):
            began = time.monotonic()
            api.ask(ID)
            api.wait_answers(0.01)
            assert time.monotonic() - began < 0.5
            wait_for(lambda: api.failures)


def test_stopping_does_not_wait_for_a_retry(docker):
    docker.answers.append((500, b""))
    began = time.monotonic()
    with running(DockerApi(docker.path, first_delay_seconds=60.0)) as api:
        api.ask(ID)
        wait_for(lambda: api.failures)
    assert time.monotonic() - began < 10


def test_without_docker_nothing_is_counted(tmp_path):
    with running(DockerApi(tmp_path / "docker.sock")) as api:
        api.ask(ID)
        api.wait_answers(60.0)
    assert (api.failures, api.dropped) == (0, 0)


def test_without_a_socket_nothing_is_asked():
    with running(DockerApi(None)) as api:
        api.ask(ID)
        assert api.take_answers() == []


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("nginx", ("nginx", "latest")),
        ("nginx:1.27", ("nginx", "1.27")),
        ("docker.io/library/nginx:1.27-alpine",
         ("docker.io/library/nginx", "1.27-alpine")),
        ("registry:5000/shop/web", ("registry:5000/shop/web", "latest")),
        ("registry:5000/shop/web:v2", ("registry:5000/shop/web", "v2")),
        ("nginx@sha256:aa", ("nginx", "")),
        ("nginx:1.27@sha256:aa", ("nginx", "1.27")),
        ("sha256:0123abcd", ("sha256:0123abcd", "")),
        ("", ("", "")),
    ],
)  # fmt: skip
def test_an_image_is_split_from_its_tag(reference, expected):
    assert split_image(reference) == expected


def test_labels_and_names_have_bounds():
    labels = {f"key{number:03}": "v" * 1000 for number in range(100)}
    labels |= {"a-long-one": "v" * 5000, "a-short-one": "v"}
    answer = {"Name": "/" + "n" * 10_000, "Config": {"Labels": labels}}
    details = parse_details(answer)
    assert len(details.name) == 4095
    assert "a-long-one" not in details.labels
    assert details.labels["a-short-one"] == "v"
    assert len(details.labels) == 33
    assert len(json.dumps(dict(details.labels))) <= 32_768


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    JSON
    | st.fixed_dictionaries(
        {"Name": JSON, "Config": st.fixed_dictionaries({"Image": JSON, "Labels": JSON})}
    )
)
def test_any_answer_gives_details(answer):
    details = parse_details(answer)
    assert all(isinstance(value, str) for value in details.labels.values())
