import contextlib

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collectors.kernel.runtime_servers import grpc_server

from ebpf_net.collectors.kernel.container_api import ApiError
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
)
from ebpf_net.collectors.kernel.cri import fetch_details, parse_details
from ebpf_net.collectors.kernel.grpc_client import GrpcError
from ebpf_net.collectors.kernel.protobuf_fields import write_field

ID = "3f1c0a2be5d74986" * 4
LABELS = {"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop"}
STATUS = (
    write_field(1, ID)
    + write_field(2, write_field(1, "app") + write_field(2, 3))
    + write_field(8, write_field(1, "registry/shop:2"))
    + write_field(9, "sha256:0123")
    + write_field(12, LABELS)
)


def test_a_container_is_asked_for_by_its_id(tmp_path):
    calls = []

    def answer(method, request, metadata, context):
        calls.append((method, request))
        return write_field(1, STATUS)

    with grpc_server(tmp_path / "a.sock", answer):
        details = fetch_details(tmp_path / "a.sock", ContainerQuestion(ID), 10.0)
    assert details == ContainerDetails("app", "registry/shop", "2", LABELS, "crio")
    method = "/runtime.v1.RuntimeService/ContainerStatus"
    assert calls == [(method, write_field(1, ID))]


def test_a_container_that_is_not_there_has_no_details(tmp_path):
    def answer(method, request, metadata, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such container")

    with grpc_server(tmp_path / "a.sock", answer):
        assert fetch_details(tmp_path / "a.sock", ContainerQuestion(ID), 10.0) is None


def test_a_runtime_that_cannot_answer_is_an_error(tmp_path):
    def answer(method, request, metadata, context):
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown service")

    with (
        grpc_server(tmp_path / "a.sock", answer),
        pytest.raises(GrpcError, match="unknown service"),
    ):
        fetch_details(tmp_path / "a.sock", ContainerQuestion(ID), 10.0)


@given(st.binary())
def test_random_bytes_give_details_or_the_error_that_is_told(message):
    with contextlib.suppress(ApiError):
        assert parse_details(message).runtime == "crio"


def test_an_image_without_a_name_has_its_digest():
    assert parse_details(write_field(9, "sha256:0123")).image == "sha256:0123"
