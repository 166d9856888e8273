import base64
import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.kubernetes.access import (
    Access,
    Places,
    find_access,
    read_kubeconfig,
)
from ebpf_net.errors import SettingError

CONFIG = {
    "current-context": "one",
    "contexts": [
        {"name": "one", "context": {"cluster": "c1", "user": "u1", "namespace": "n1"}},
        {"name": "two", "context": {"cluster": "c2", "user": "u2"}},
    ],
    "clusters": [
        {
            "name": "c1",
            "cluster": {
                "server": "https://c1.example:6443/",
                "certificate-authority": "ca.crt",
                "tls-server-name": "kubernetes",
                "proxy-url": "http://proxy:3128",
            },
        },
        {
            "name": "c2",
            "cluster": {
                "server": "https://c2.example",
                "certificate-authority-data": base64.b64encode(b"PEM").decode(),
                "insecure-skip-tls-verify": True,
            },
        },
    ],
    "users": [
        {
            "name": "u1",
            "user": {"client-certificate": "me.crt", "client-key": "/me.key"},
        },
        {
            "name": "u2",
            "user": {
                "exec": {
                    "apiVersion": "client.authentication.k8s.io/v1beta1",
                    "command": "./login",
                    "args": ["--cluster", "c2"],
                    "env": [{"name": "PROFILE", "value": "p"}],
                    "provideClusterInfo": True,
                }
            },
        },
    ],
}


def write(path: Path, document: object) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_current_context_is_used(tmp_path):
    access = read_kubeconfig((write(tmp_path / "config", CONFIG),))
    assert access == Access(
        server="https://c1.example:6443",
        cluster_name="c1",
        namespace="n1",
        ca_file=tmp_path / "ca.crt",
        tls_server_name="kubernetes",
        proxy_url="http://proxy:3128",
        certificate_file=tmp_path / "me.crt",
        key_file=Path("/me.key"),
    )


def test_another_context_can_be_named(tmp_path):
    access = read_kubeconfig((write(tmp_path / "config", CONFIG),), "two")
    assert (access.server, access.namespace) == ("https://c2.example", "default")
    assert (access.ca_data, access.insecure) == ("PEM", True)
    plugin = access.exec_plugin
    assert plugin is not None
    assert plugin.command == str(tmp_path / "login")
    assert plugin.arguments == ("--cluster", "c2")
    assert plugin.environment == {"PROFILE": "p"}
    assert plugin.api_version == "client.authentication.k8s.io/v1beta1"
    assert plugin.provide_cluster_info


def test_files_are_merged_and_the_first_of_a_name_wins(tmp_path):
    first = write(tmp_path / "a", {"users": [{"name": "u1", "user": {"token": "t"}}]})
    second = write(tmp_path / "b", CONFIG)
    access = read_kubeconfig((tmp_path / "missing", first, second))
    assert (access.token, access.certificate_file) == ("t", None)
    assert access.server == "https://c1.example:6443"


def test_a_pod_uses_its_service_account(tmp_path):
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("observability\n")
    places = Places(
        service_host="fd00::1",
        service_port=6443,
        service_account=tmp_path,
        home=tmp_path / "none",
    )
    assert find_access(places) == Access(
        server="https://[fd00::1]:6443",
        namespace="observability",
        ca_file=tmp_path / "ca.crt",
        token_file=tmp_path / "token",
    )


def test_a_kubeconfig_that_is_named_goes_before_the_service_account(tmp_path):
    (tmp_path / "token").write_text("t")
    config = write(tmp_path / "config", CONFIG)
    places = Places((config,), service_host="h", service_account=tmp_path)
    assert find_access(places).cluster_name == "c1"


def test_without_any_the_users_own_is_read(tmp_path):
    home = write(tmp_path / "config", CONFIG)
    assert find_access(Places(home=home)).cluster_name == "c1"


def test_no_cluster_at_all_is_said_with_a_hint(tmp_path):
    with pytest.raises(SettingError, match="no Kubernetes API server") as caught:
        find_access(Places(home=tmp_path / "none"))
    assert "KUBECONFIG" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current-context": None}, "no current context"),
        ({"current-context": "three"}, "no context 'three'"),
        ({"clusters": []}, "no cluster 'c1'"),
        ({"users": None}, "no user 'u1'"),
        ({"clusters": [{"name": "c1", "cluster": {"server": "c1"}}]}, "server is 'c1'"),
        (
            {"users": [{"name": "u1", "user": {"client-key-data": "%"}}]},
            "client-key-data is not base64",
        ),
        ({"users": [{"name": "u1", "user": {"exec": {}}}]}, "exec has no command"),
        ({"users": [{"name": "u1", "user": {"auth-provider": {}}}]}, "auth-provider"),
        (
            {"users": [{"name": "u1", "user": {"exec": {"command": "x", "args": 3}}}]},
            "args of exec is no list",
        ),
        ({"users": [{"name": "u1", "user": {"token": "a\r\nX: y"}}]}, "characters"),
        ({"users": [{"name": "u1", "user": {"token": "\u20ac"}}]}, "characters"),
    ],
)
def test_what_cannot_be_right_is_said_in_one_line(tmp_path, change, message):
    path = write(tmp_path / "config", {**CONFIG, **change})
    with pytest.raises(SettingError, match=message) as caught:
        read_kubeconfig((path,))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not YAML"),
        (b"- a", "no mapping"),
        (b"\xff", "cannot read"),
        (b"current-context: 2020-99-99", "not YAML"),
        (b"[" * 3000, "nested too deeply"),
    ],
)
def test_a_file_that_is_none_is_said(tmp_path, content, message):
    (tmp_path / "config").write_bytes(content)
    with pytest.raises(SettingError, match=message):
        read_kubeconfig((tmp_path / "config",))


def test_no_file_is_said(tmp_path):
    with pytest.raises(SettingError, match="there is no kubeconfig"):
        read_kubeconfig((tmp_path / "none",))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*CONFIG, "name", "cluster", "user", "context", "exec"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from([*CONFIG]), _VALUES, max_size=4))
def test_any_document_is_read_or_refused(tmp_path_factory, document):
    path = write(tmp_path_factory.mktemp("any") / "config", {**CONFIG, **document})
    with contextlib.suppress(SettingError):
        assert read_kubeconfig((path,)).server
