import pytest
from tests.collectors.kubernetes.fake_api import Answer, FakeApi, failed

from ebpf_net.collectors.kubernetes.access import Access, read_kubeconfig
from ebpf_net.collectors.kubernetes.api import ApiError, ApiServer
from ebpf_net.collectors.kubernetes.credentials import Credentials
from ebpf_net.collectors.kubernetes.identity import find_cluster_uid


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


def test_without_the_right_it_is_the_servers_name_and_authority(tmp_path):
    with FakeApi([failed(403)] * 4) as fake:
        first = ask(fake, ca_data="a")
        assert first == ask(fake, ca_data="a")
        assert first != ask(fake, ca_data="b")
        (tmp_path / "ca").write_text("a")
        assert first == ask(fake, ca_file=tmp_path / "ca")


@pytest.mark.parametrize("answer", [failed(500), Answer(b"<html>")])
def test_a_server_that_cannot_tell_is_asked_again_later(answer):
    with FakeApi([answer]) as fake, pytest.raises(ApiError):
        ask(fake)
