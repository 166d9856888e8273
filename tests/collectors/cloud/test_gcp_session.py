import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from tests.world.gcp_api import PROJECT, Fault, gcp_api

from ebpf_net.collectors.cloud.gcp_errors import Refused, ask
from ebpf_net.collectors.cloud.gcp_session import COMPUTE, SQL, GcpSession
from ebpf_net.collectors.cloud.providers import (
    CallFailed,
    PartFailed,
    ProviderOptions,
)


@pytest.fixture
def api(tmp_path, monkeypatch):
    with gcp_api(tmp_path) as api:
        for name, value in api.environment.items():
            monkeypatch.setenv(name, value)
        yield api


@pytest.fixture
def session(api):
    return GcpSession(ProviderOptions(environment=api.environment, timeout_seconds=5))


def _list(session, **request):
    client = session.client(COMPUTE)
    try:
        request = {"project": PROJECT, **request}
        return client.instances().aggregatedList(**request).execute()
    finally:
        client.close()


def test_the_project_is_that_of_the_credentials(session):
    assert session.project == PROJECT


def test_one_token_is_used_until_it_ends(api, session):
    for _ in range(3):
        _list(session)
    assert api.tokens == 1


def test_a_token_is_renewed_before_it_ends(api, session):
    api.token_seconds = 60  # less than the clocks of clouds may differ
    for _ in range(3):
        _list(session)
    assert api.tokens == 3


def test_a_token_that_is_refused_is_not_used_again(api, session):
    _list(session)
    api.revoke_tokens()
    with pytest.raises(CallFailed, match="401"):
        ask("", lambda: _list(session))
    _list(session)
    assert api.tokens == 2


def test_threads_that_are_refused_at_once_share_a_new_token(api, session):
    _list(session)
    api.revoke_tokens()
    together = threading.Barrier(8)

    def refused_then_served(_number):
        together.wait()
        try:
            _list(session)
        except Refused:
            _list(session)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(refused_then_served, range(8)))
    assert 2 <= api.tokens <= 9
    assert api.calls()["instances"] <= 17


def test_a_key_that_is_not_taken_any_more_is_no_failure_that_passes(api, session):
    error = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    api.fail(Fault(400, error), "token")
    with pytest.raises(PartFailed, match="no credentials: invalid_grant: Invalid JWT"):
        ask("", lambda: _list(session))


def test_a_key_that_was_replaced_is_read(api, session, tmp_path):
    file = tmp_path / "key.json"
    new = file.read_text()
    file.write_text(new.replace("names@", "old@"))
    old = GcpSession(ProviderOptions(environment=api.environment, timeout_seconds=5))
    with pytest.raises(PartFailed, match="invalid_grant"):
        ask("", lambda: _list(old))
    file.write_text(new)
    assert "items" in _list(old)


def test_without_a_file_the_metadata_service_is_not_asked(api):
    with pytest.raises(DefaultCredentialsError, match="no file"):
        GcpSession(ProviderOptions(environment={"HOME": "/nonexistent"}))


def test_the_file_of_gcloud_is_found(api, tmp_path, monkeypatch):
    environment = dict(api.environment)
    key = environment.pop("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    directory = tmp_path / "gcloud"
    directory.mkdir()
    shutil.copy(key, directory / "application_default_credentials.json")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(directory))
    environment["CLOUDSDK_CONFIG"] = str(directory)
    assert "items" in _list(GcpSession(ProviderOptions(environment=environment)))


@pytest.mark.parametrize("content", ["", "no JSON", "{}", '{"type":"service_account"}'])
def test_a_file_that_is_none_is_told(api, tmp_path, monkeypatch, content):
    file = tmp_path / "other.json"
    file.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    with pytest.raises(GoogleAuthError):
        GcpSession(ProviderOptions(environment=environment))
    with pytest.raises(PartFailed, match="no credentials"):
        ask("", lambda: GcpSession(ProviderOptions(environment=environment)))


def test_only_what_is_called_is_kept_of_an_api(session):
    compute, sql = session.client(COMPUTE), session.client(SQL)
    assert hasattr(compute, "routers")
    assert not hasattr(compute, "disks")
    assert not hasattr(compute.instances(), "delete")
    assert not hasattr(sql.instances(), "delete")


def test_a_parameter_that_is_none_is_refused(session):
    with pytest.raises(TypeError):
        _list(session, fieldz="id")


def test_the_metadata_service_gives_tokens_on_machines_of_google(api):
    """In another process, because the library reads its variables once."""
    api.project().instance("web", "10.0.0.2")
    host = api.url.removeprefix("http://")
    environment = {
        name: value
        for name, value in api.environment.items()
        if name != "GOOGLE_APPLICATION_CREDENTIALS"
    }
    environment |= {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}
    environment["HOME"] = "/nonexistent"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", _ASK],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    assert json.loads(result.stdout) == [PROJECT, "web"]


_ASK = """
import json, os, threading
from ebpf_net.collectors.cloud.gcp import make_providers
from ebpf_net.collectors.cloud.pace import CallCounter, CallPace, PaceOptions
from ebpf_net.collectors.cloud.providers import ProviderOptions

pace = CallPace(CallCounter(), threading.Event(), PaceOptions(tries=1))
(provider,) = make_providers(ProviderOptions(environment=os.environ, here="gcp"))
part = next(iter(provider.parts(pace)))
(found,) = part.fetch(pace)
print(json.dumps([part.key.account, found.name]))
"""
