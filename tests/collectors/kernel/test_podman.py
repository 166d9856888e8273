import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collectors.kernel.runtime_servers import http_server

from ebpf_net.collectors.kernel.container_api import ApiError
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
)
from ebpf_net.collectors.kernel.podman import fetch_details, parse_stored

ID = "3f1c0a2be5d74986" * 4
ASKED = ContainerQuestion(ID, "podman")
STORED = {
    "id": ID,
    "names": ["web"],
    "metadata": json.dumps({"image-name": "docker.io/library/nginx:1", "name": "web"}),
}


def store(directory, content, name="containers"):
    path = directory / "overlay-containers" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def test_podman_is_asked_as_docker_is(tmp_path):
    with http_server(tmp_path / "podman.sock") as podman:
        podman.answers.append((200, b'{"Name": "web"}'))
        details = fetch_details(podman.path, ASKED, 5.0)
    assert (details.name, details.runtime) == ("web", "podman")
    assert podman.asked == [f"/containers/{ID}/json"]


@pytest.mark.parametrize("name", ["containers", "volatile-containers"])
def test_without_its_api_the_storage_has_name_and_image(tmp_path, name):
    store(tmp_path, json.dumps([{"id": "other"}, STORED]).encode(), name)
    assert fetch_details(tmp_path, ASKED, 5.0) == ContainerDetails(
        "web", "docker.io/library/nginx", "1", runtime="podman"
    )


def test_a_container_that_is_not_stored_has_no_details(tmp_path):
    assert fetch_details(tmp_path, ASKED, 5.0) is None
    store(tmp_path, b"[7, {}]")
    assert fetch_details(tmp_path, ASKED, 5.0) is None


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b" " * ((8 << 20) + 1)])
def test_a_list_that_is_none_is_an_error(tmp_path, content):
    store(tmp_path, content)
    with pytest.raises(ApiError):
        fetch_details(tmp_path, ASKED, 5.0)


def test_metadata_may_be_longer_than_a_name():
    metadata = json.dumps({"labels": "x" * 5000, "name": "web"})
    assert parse_stored({"metadata": metadata}).name == "web"


def test_metadata_that_is_no_json_is_an_error():
    with pytest.raises(ApiError):
        parse_stored({"metadata": "{"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.fixed_dictionaries({"names": JSON, "metadata": JSON.map(json.dumps)}))
def test_any_entry_gives_details(entry):
    assert parse_stored(entry).runtime == "podman"
