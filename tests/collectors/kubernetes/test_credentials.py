import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.world.certificates import make_certificate

from ebpf_net.collectors.kubernetes.access import Access, ExecPlugin
from ebpf_net.collectors.kubernetes.credentials import Credentials, CredentialsMissing
from ebpf_net.errors import SettingError

SERVER = "https://kubernetes"

PLUGIN = """
import json, os, pathlib, sys
calls = pathlib.Path(sys.argv[1])
calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
status = json.loads(sys.argv[2])
status.setdefault("token", f"{os.environ['WHO']}{len(calls.read_text())}")
print(json.dumps({"apiVersion": info["apiVersion"], "status": status}))
"""


def plugin(tmp_path: Path, **status: object) -> ExecPlugin:
    script = tmp_path / "plugin.py"
    script.write_text(PLUGIN)
    arguments = (str(script), str(tmp_path / "calls"), json.dumps(status))
    return ExecPlugin(sys.executable, arguments, {"WHO": "me"})


def exec_credentials(tmp_path: Path, **status: object) -> Credentials:
    return Credentials(Access(SERVER, exec_plugin=plugin(tmp_path, **status)))


def test_a_fixed_token_is_sent():
    assert Credentials(Access(SERVER, token="t")).headers() == {
        "Authorization": "Bearer t"
    }


def test_a_name_and_password_are_sent():
    headers = Credentials(Access(SERVER, username="u", password="p")).headers()
    assert headers == {"Authorization": "Basic dTpw"}


def test_nothing_is_sent_with_a_certificate_alone():
    assert Credentials(Access(SERVER)).headers() == {}


def test_a_token_that_is_replaced_is_read_again(tmp_path):
    path = tmp_path / "token"
    path.write_text("one\n")
    credentials = Credentials(Access(SERVER, token_file=path))
    assert credentials.headers()["Authorization"] == "Bearer one"
    path.write_text("two")
    assert credentials.headers()["Authorization"] == "Bearer two"
    path.unlink()
    assert credentials.headers()["Authorization"] == "Bearer two"


def test_a_token_that_is_not_there_yet_is_missing(tmp_path):
    credentials = Credentials(Access(SERVER, token_file=tmp_path / "token"))
    with pytest.raises(CredentialsMissing, match="cannot read"):
        credentials.headers()


def test_a_plugin_is_asked_once(tmp_path):
    credentials = exec_credentials(tmp_path)
    assert credentials.headers() == {"Authorization": "Bearer me1"}
    assert credentials.headers() == {"Authorization": "Bearer me1"}


def test_a_plugin_is_asked_again_after_a_refusal(tmp_path):
    credentials = exec_credentials(tmp_path)
    credentials.headers()
    credentials.refused()
    assert credentials.headers() == {"Authorization": "Bearer me2"}


def test_a_plugin_is_asked_again_before_its_token_ends(tmp_path):
    soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    credentials = exec_credentials(tmp_path, expirationTimestamp=soon)
    credentials.headers()
    assert credentials.headers() == {"Authorization": "Bearer me2"}


def test_a_plugin_may_tell_a_certificate(tmp_path):
    files = make_certificate(tmp_path, "me")
    status = {
        "token": "",
        "clientCertificateData": files.certificate.read_text(),
        "clientKeyData": files.key.read_text(),
    }
    access = Access(
        SERVER, ca_file=files.certificate, exec_plugin=plugin(tmp_path, **status)
    )
    credentials = Credentials(access)
    before = credentials.version()
    assert credentials.tls().get_ca_certs()
    assert credentials.headers() == {}
    assert credentials.version() != before


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('no')", "no ExecCredential"),
        ("import sys; sys.exit('log in first')", "failed: log in first"),
        ("import sys; sys.exit(3)", "failed: exit code 3"),
    ],
)
def test_a_plugin_that_fails_is_said(code, message):
    access = Access(SERVER, exec_plugin=ExecPlugin(sys.executable, ("-c", code)))
    with pytest.raises(CredentialsMissing, match=message):
        Credentials(access).headers()


def test_a_plugin_that_is_not_there_is_said():
    access = Access(SERVER, exec_plugin=ExecPlugin("/nonexistent/plugin"))
    with pytest.raises(CredentialsMissing, match="cannot run /nonexistent/plugin"):
        Credentials(access).headers()


def test_certificates_may_be_in_the_kubeconfig_itself(tmp_path):
    files = make_certificate(tmp_path, "me")
    access = Access(
        SERVER,
        ca_data=files.certificate.read_text(),
        certificate_data=files.certificate.read_text(),
        key_data=files.key.read_text(),
    )
    assert len(Credentials(access).tls().get_ca_certs()) == 1


@pytest.mark.parametrize("field", ["ca_data", "certificate_data"])
def test_certificates_that_are_none_are_said(field):
    with pytest.raises(SettingError, match="cannot use the cluster's certificates"):
        Credentials(Access(SERVER, **{field: "x"})).tls()


def test_a_file_that_is_replaced_makes_another_version(tmp_path):
    path = tmp_path / "ca.crt"
    credentials = Credentials(Access(SERVER, ca_file=path))
    before = credentials.version()
    path.write_text("x")
    assert credentials.version() != before


def test_a_token_file_that_holds_two_lines_is_no_token(tmp_path):
    (tmp_path / "token").write_text("a\nb")
    credentials = Credentials(Access(SERVER, token_file=tmp_path / "token"))
    with pytest.raises(CredentialsMissing, match="characters"):
        credentials.headers()


@pytest.mark.parametrize("variables", [{"a=b": "c"}, {"a": "\0"}])
def test_a_plugin_with_variables_that_cannot_be_is_said(variables):
    odd = ExecPlugin(sys.executable, (), variables)
    with pytest.raises(CredentialsMissing, match="cannot run"):
        Credentials(Access(SERVER, exec_plugin=odd)).headers()
