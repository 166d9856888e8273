import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collectors.kernel.runtime_servers import http_server, raw_server

from ebpf_net.collectors.kernel.container_api import ApiError
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
)
from ebpf_net.collectors.kernel.docker import (
    fetch_details,
    parse_details,
)

ID = "3f1c0a2be5d74986" * 4
ASKED = ContainerQuestion(ID, "docker")
ANSWER = {
    "Id": ID,
    "Name": "/web",
    "Config": {"Image": "nginx:1.27", "Labels": {"tier": "front"}},
}
DETAILS = ContainerDetails("web", "nginx", "1.27", {"tier": "front"}, "docker")


@pytest.fixture
def docker(tmp_path):
    with http_server(tmp_path / "docker.sock") as server:
        yield server


def test_name_image_and_labels_come_from_the_api(docker):
    docker.answers.append((200, json.dumps(ANSWER).encode()))
    assert fetch_details(docker.path, ASKED, 5.0) == DETAILS
    assert docker.asked == [f"/containers/{ID}/json"]


def test_a_container_that_docker_does_not_know_has_no_details(docker):
    assert fetch_details(docker.path, ASKED, 5.0) is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (200, b"no json"),
        (200, b"[" * 100_000),
        (200, b"1" * 10_000),
        (200, b'"\xff"'),
        (200, b" " * ((4 << 20) + 1)),
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_an_error(docker, status, body):
    docker.answers.append((status, body))
    with pytest.raises(ApiError):
        fetch_details(docker.path, ASKED, 5.0)


def test_what_is_no_http_is_an_error(tmp_path):
    with (
        raw_server(tmp_path / "docker.sock", b"SSH-2.0\r\n") as path,
        pytest.raises(ApiError),
    ):
        fetch_details(path, ASKED, 5.0)


@pytest.mark.parametrize("content", [b"", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 9999])
def test_an_answer_that_comes_slowly_takes_no_longer_than_told(tmp_path, content):
    with (
        raw_server(tmp_path / "docker.sock", content, 0.01) as path,
        pytest.raises(TimeoutError),
    ):
        fetch_details(path, ASKED, 0.2)


def test_the_names_that_nomad_gives_are_labels(docker):
    variables = [
        "NOMAD_JOB_NAME=job",
        "NOMAD_GROUP_NAME=group",
        "NOMAD_TASK_NAME=task",
        "NOMAD_NAMESPACE=default",
        "NOMAD_TOKEN=secret",
        "PASSWORD=secret",
        7,
    ]
    labels = {"com.hashicorp.nomad.task_name": "renamed"}
    answer = {"Config": {"Env": variables, "Labels": labels}}
    assert parse_details(answer, "docker").labels == {
        "com.hashicorp.nomad.job_name": "job",
        "com.hashicorp.nomad.task_group_name": "group",
        "com.hashicorp.nomad.task_name": "renamed",
        "com.hashicorp.nomad.namespace": "default",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
CONFIG = st.fixed_dictionaries({"Image": JSON, "Labels": JSON, "Env": JSON})


@given(JSON | st.fixed_dictionaries({"Name": JSON, "Config": CONFIG}))
def test_any_answer_gives_details(answer):
    details = parse_details(answer, "docker")
    assert all(isinstance(value, str) for value in details.labels.values())
