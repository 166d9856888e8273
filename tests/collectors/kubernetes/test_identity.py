import threading

import pytest
from tests.collectors.kubernetes.fake_api import Answer, FakeApi, failed

from ebpf_net.collectors.kubernetes.access import Access, read_kubeconfig
from ebpf_net.collectors.kubernetes.api import ApiError, ApiServer
from ebpf_net.collectors.kubernetes.credentials import Credentials
from ebpf_net.collectors.kubernetes.identity import (
    find_cluster_uid,
    make_cluster_uid,
    wait_for_cluster_uid,
)
from ebpf_net.errors import SettingError


def ask(fake, **access):
    known = Access(fake.url, **access)
    api = ApiServer(known, Credentials(known))
    try:
        return find_cluster_uid(api)
    finally:
        api.close()


def test_a_real_cluster_is_its_system_namespace(control_plane):
    access = read_kubeconfig((control_plane.kubeconfig,))
    api = ApiServer(access, Credentials(access))
    found = control_plane.api.request("GET", "/api/v1/namespaces/kube-system")
    assert find_cluster_uid(api) == found["metadata"]["uid"]
    api.close()


def wait(fake, seconds, **access):
    known = Access(fake.url, **access)
    api = ApiServer(known, Credentials(known))
    try:
        return wait_for_cluster_uid(api, threading.Event(), seconds)
    finally:
        api.close()


NAMESPACE = Answer(b'{"metadata": {"uid": "c-1"}}')


def test_without_the_right_it_is_the_servers_name_and_authority(tmp_path):
    with FakeApi([failed(403)] * 4) as fake:
        first = wait(fake, 0, ca_data="a")
        assert first == wait(fake, 0, ca_data="a")
        assert first != wait(fake, 0, ca_data="b")
        (tmp_path / "ca").write_text("a")
        assert first == wait(fake, 0, ca_file=tmp_path / "ca")


def test_a_refusal_for_a_moment_does_not_decide_who_it_is():
    with FakeApi([failed(403), failed(403), NAMESPACE]) as fake:
        assert wait(fake, 60) == "c-1"


def test_refusals_with_other_answers_between_them_do_not_last():
    answers = [failed(403), failed(500), failed(403), NAMESPACE]
    with FakeApi(answers) as fake:
        assert wait(fake, 0.1) == "c-1"


def test_an_answer_that_is_none_of_an_api_server_is_said_once(caplog):
    page = Answer(b"<html>")
    with FakeApi([page, page, NAMESPACE]) as fake:
        assert wait(fake, 60) == "c-1"
    assert [record.getMessage() for record in caplog.records] == [
        (
            "it is not known yet which cluster it is: "
            "not a namespace: JSON is malformed: invalid character (byte 0)"
        )
    ]


def test_an_authority_that_cannot_be_read_is_named(tmp_path):
    missing = tmp_path / "ca"
    with pytest.raises(SettingError, match=f"cannot read .*{missing}"):
        make_cluster_uid(Access("https://there", ca_file=missing))


@pytest.mark.parametrize("answer", [failed(500), Answer(b"<html>")])
def test_a_server_that_cannot_tell_is_asked_again_later(answer):
    with FakeApi([answer]) as fake, pytest.raises(ApiError):
        ask(fake)
