import os

import pytest
from azure.identity import DefaultAzureCredential
from tests.collectors.cloud.azure_parts import azure_here, quick_pace
from tests.world.azure_api import Fault
from tests.world.azure_resources import AzureSubscription

from ebpf_net.collectors.cloud import azure_session
from ebpf_net.collectors.cloud.azure_session import AzureSession, Cloud, cloud_of
from ebpf_net.collectors.cloud.providers import (
    CallFailed,
    PartFailed,
    ProviderOptions,
)
from ebpf_net.errors import SettingError

_LIST = "/subscriptions?api-version=2022-12-01"
_PERMISSION = "Microsoft.Resources/subscriptions/read"


@pytest.fixture
def world(tmp_path, monkeypatch):
    with azure_here(tmp_path, monkeypatch) as world:
        AzureSubscription(world)
        yield world


@pytest.fixture
def pace():
    return quick_pace()


def _session(**more):
    return AzureSession(ProviderOptions(environment=dict(os.environ), **more))


def _pages(session, pace):
    return list(session.pages(pace, _PERMISSION, _LIST))


def test_one_token_serves_for_all_calls(world, pace):
    session = _session()
    for _ in range(3):
        assert len(_pages(session, pace)) == 1
    assert world.tokens_given == 1


def test_a_token_is_replaced_before_it_ends(world, pace):
    world.token_seconds = 200  # the SDK renews those with less than 300 left
    session = _session()
    for _ in range(2):
        _pages(session, pace)
    world.token_seconds = 3600
    for _ in range(3):
        _pages(session, pace)
    assert world.tokens_given >= 2


def test_a_token_that_is_refused_is_replaced(world, pace):
    session = _session()
    _pages(session, pace)
    world.expire_tokens()
    assert len(_pages(session, pace)) == 1
    assert world.tokens_given == 2
    assert world.calls() == {_PERMISSION: 3}


def test_a_token_that_is_always_refused_fails_the_part(world, pace):
    world.fail(Fault(401, "AuthenticationFailed"))
    with pytest.raises(PartFailed, match="AuthenticationFailed"):
        _pages(_session(), pace)
    assert world.calls() == {_PERMISSION: 3}


def test_a_wrong_secret_is_told(world, pace, monkeypatch):
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    with pytest.raises(PartFailed, match=r"no credentials: .*AADSTS7000215"):
        _pages(_session(), pace)
    assert not world.calls()


def test_without_credentials_it_says_so(world, pace, monkeypatch):
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PartFailed, match="no credentials"):
        _pages(_session(), pace)


def test_nobody_there_is_tried_again(world, pace):
    session = _session()
    _pages(session, pace)
    session._cloud = Cloud("https://localhost:1", session._cloud.audience, False)
    with pytest.raises(CallFailed):
        session.get(_PERMISSION, _LIST)


def test_time_limits_are_those_of_the_options(world):
    client = _session(timeout_seconds=7.0)._connect()
    config = client._pipeline._transport.connection_config
    assert (config.timeout, config.read_timeout) == (7.0, 7.0)


@pytest.mark.parametrize("body", ["<html>", "[]", '{"error": 1}', '{"value": {}}'])
def test_what_is_no_list_is_tried_again(world, pace, body):
    world.fail(Fault(200, body=body, times=2))
    assert len(_pages(_session(), pace)) == 1
    assert world.calls() == {_PERMISSION: 3}


def test_a_page_elsewhere_never_sees_the_token(world, pace):
    body = '{"value": [], "nextLink": "https://evil.example/subscriptions?x=1"}'
    world.fail(Fault(200, body=body))
    with pytest.raises(PartFailed, match="the next page is at https://evil"):
        _pages(_session(), pace)


def test_a_page_that_leads_to_itself_ends_the_poll(world, pace):
    link = f"{world.url}{_LIST}&x=1"
    world.fail(Fault(200, body=f'{{"value": [], "nextLink": "{link}"}}'))
    with pytest.raises(PartFailed, match="the next page"):
        _pages(_session(), pace)
    assert world.calls() == {_PERMISSION: 2}


@pytest.mark.parametrize(
    ("environment", "cloud"),
    [
        (
            {},
            Cloud("https://management.azure.com", "https://management.azure.com", True),
        ),
        (
            {"AZURE_AUTHORITY_HOST": "login.microsoftonline.us"},
            Cloud(
                "https://management.usgovcloudapi.net",
                "https://management.core.usgovcloudapi.net",
                True,
            ),
        ),
        (
            {"AZURE_AUTHORITY_HOST": "https://login.chinacloudapi.cn/"},
            Cloud(
                "https://management.chinacloudapi.cn",
                "https://management.chinacloudapi.cn",
                True,
            ),
        ),
        (
            {
                "AZURE_AUTHORITY_HOST": "https://adfs.example",
                "AZURE_RESOURCE_MANAGER_ENDPOINT": "https://arm.example/",
                "AZURE_RESOURCE_MANAGER_AUDIENCE": "https://audience.example/",
            },
            Cloud("https://arm.example", "https://audience.example", False),
        ),
    ],
)
def test_variables_say_which_cloud_it_is(environment, cloud):
    assert cloud_of(environment) == cloud


def test_tokens_are_not_sent_in_the_clear():
    with pytest.raises(SettingError, match="AZURE_RESOURCE_MANAGER_ENDPOINT"):
        cloud_of({"AZURE_RESOURCE_MANAGER_ENDPOINT": "http://arm.example"})


@pytest.mark.parametrize(
    ("here", "environment", "asks"),
    [
        ("", {}, False),
        ("aws", {}, False),
        ("azure", {}, True),
        ("", {"IDENTITY_ENDPOINT": "http://localhost:1"}, True),
    ],
)
def test_the_metadata_service_is_asked_on_azure_only(
    world, monkeypatch, here, environment, asks
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = []
    monkeypatch.setattr(
        azure_session,
        "DefaultAzureCredential",
        lambda **options: made.append(DefaultAzureCredential(**options)) or made[0],
    )
    _session(here=here)._connect()
    names = {type(one).__name__ for one in made[0].credentials}
    assert ("ManagedIdentityCredential" in names) is asks
