import contextlib
import json

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collectors.kernel.runtime_servers import grpc_server

from ebpf_net.collectors.kernel.container_api import ApiError, NotAllAskedError
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
)
from ebpf_net.collectors.kernel.containerd import (
    cgroup_path,
    fetch_details,
    parse_details,
)
from ebpf_net.collectors.kernel.grpc_client import GrpcError
from ebpf_net.collectors.kernel.protobuf_fields import read_text, write_field

ID = "3f1c0a2be5d74986" * 4


def container(identity, image="", labels=None, spec=None):
    content = json.dumps(spec or {}) if not isinstance(spec, str) else spec
    return (
        write_field(1, identity)
        + write_field(2, labels or {})
        + write_field(3, image)
        + write_field(5, write_field(1, "types.example/Spec") + write_field(2, content))
    )


class Daemon:
    def __init__(self, **namespaces):
        self.namespaces = namespaces
        self.asked = []

    def answer(self, method, request, metadata, context):
        if method.endswith("Namespaces/List"):
            names = (write_field(1, write_field(1, name)) for name in self.namespaces)
            return b"".join(names)
        namespace, identity = metadata["containerd-namespace"], read_text(request, 1)
        self.asked.append(namespace)
        for found in self.namespaces[namespace]:
            if read_text(found, 1) == identity:
                return write_field(1, found)
        return context.abort(grpc.StatusCode.NOT_FOUND, "not found")


@pytest.fixture
def ask(tmp_path):
    def asked(daemon, question):
        with grpc_server(tmp_path / "a.sock", daemon.answer):
            return fetch_details(tmp_path / "a.sock", question, 10.0)

    return asked


def test_a_container_is_looked_for_in_all_namespaces_but_dockers(ask):
    found = container(ID, "docker.io/library/nginx:1.27", {"nerdctl/name": "web"})
    daemon = Daemon(default=[], moby=[container(ID)], shop=[found])
    assert ask(daemon, ContainerQuestion(ID)) == ContainerDetails(
        "web",
        "docker.io/library/nginx",
        "1.27",
        {"nerdctl/name": "web"},
        "containerd",
        ID,
    )
    assert daemon.asked == ["default", "shop"]


def test_a_container_that_it_does_not_know_has_no_details(ask):
    assert ask(Daemon(default=[]), ContainerQuestion(ID)) is None


def test_of_many_namespaces_some_are_asked(ask):
    daemon = Daemon(**{f"n{number}": [] for number in range(50)})
    with pytest.raises(NotAllAskedError, match="50 namespaces"):
        ask(daemon, ContainerQuestion(ID))
    assert len(daemon.asked) == 16


def test_a_cgroup_of_any_name_is_a_container_if_it_is_the_containers(ask):
    web = container("web", spec={"linux": {"cgroupsPath": "/shop/web"}})
    daemon = Daemon(shop=[web])
    details = ask(daemon, ContainerQuestion("", path="/shop/web"))
    assert (details.name, details.container_id) == ("web", "web")
    assert ask(daemon, ContainerQuestion("", path="/other/web")) is None


def test_an_error_of_the_daemon_is_one(tmp_path):
    def answer(method, request, metadata, context):
        context.abort(grpc.StatusCode.UNAVAILABLE, "starting")

    with (
        grpc_server(tmp_path / "a.sock", answer),
        pytest.raises(GrpcError, match="starting"),
    ):
        fetch_details(tmp_path / "a.sock", ContainerQuestion(ID), 10.0)


def test_a_container_of_kubernetes_has_the_names_that_kubelet_gave():
    labels = {
        "io.cri-containerd.kind": "container",
        "io.kubernetes.container.name": "app",
        "io.kubernetes.pod.name": "web-0",
    }
    annotations = {
        "io.kubernetes.cri.image-name": "registry/shop:2",
        "io.kubernetes.cri.sandbox-name": "other",
        "io.kubernetes.cri.sandbox-namespace": "shop",
    }
    message = container(ID, "sha256:0123", labels, {"annotations": annotations})
    details = parse_details(message)
    assert (details.name, details.image, details.image_version) == (
        "app",
        "registry/shop",
        "2",
    )
    assert details.labels == {**labels, "io.kubernetes.pod.namespace": "shop"}


def test_texts_have_bounds():
    details = parse_details(container("w" * 100_000, "i" * 100_000))
    assert len(details.name) == len(details.container_id) == len(details.image) == 4096
    assert details.cut == 3  # the id is the name, too


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
SPECS = st.fixed_dictionaries({"annotations": JSON, "process": JSON, "linux": JSON})


@given(SPECS | JSON)
def test_any_specification_gives_details(spec):
    assert parse_details(container("web", spec=json.dumps(spec))).name == "web"


@given(st.binary())
def test_random_bytes_give_details_or_the_error_that_is_told(message):
    with contextlib.suppress(ApiError):
        assert parse_details(message).runtime == "containerd"


def test_a_generated_id_is_no_name():
    assert parse_details(container(ID)).name == ""


def test_nomads_variables_are_labels():
    spec = {"process": {"env": ["NOMAD_JOB_NAME=job", "TOKEN=secret"]}}
    assert parse_details(container(ID, spec=spec)).labels == {
        "com.hashicorp.nomad.job_name": "job"
    }


@pytest.mark.parametrize("spec", ["[" * 100_000, "{", "1" * 10_000])
def test_a_specification_that_is_no_json_is_an_error(spec):
    with pytest.raises(ApiError, match="specification"):
        parse_details(container("web", spec=spec))


@pytest.mark.parametrize("spec", ["[]", "7", '{"linux": 7, "process": {"env": 7}}'])
def test_a_specification_of_another_shape_says_nothing(spec):
    message = container("web", spec=spec)
    assert cgroup_path(message) == ""
    assert parse_details(message).labels == {}
