import threading

import pytest
from tests.world.moto_world import (
    ACCOUNT,
    OTHER_ACCOUNT,
    REGIONS,
    Region,
    denied,
    role_arn,
)

from ebpf_net.collectors.cloud.aws import make_providers
from ebpf_net.collectors.cloud.pace import CallCounter, CallPace, PaceOptions
from ebpf_net.collectors.cloud.providers import (
    PartFailed,
    PartKey,
    ProviderOptions,
)
from ebpf_net.errors import SettingError


@pytest.fixture
def pace():
    return CallPace(
        CallCounter(), threading.Event(), PaceOptions(tries=2, first_wait_seconds=0.001)
    )


def test_without_roles_the_own_account_is_asked(moto, pace):
    (provider,) = make_providers(ProviderOptions())
    assert provider.name == "aws"
    assert [part.key for part in provider.parts(pace)] == [
        PartKey("aws", ACCOUNT, region) for region in REGIONS
    ]


def test_each_role_is_an_account(moto, pace):
    Region("us-east-1", OTHER_ACCOUNT).add("172.31.1.6")
    own, other = make_providers(
        ProviderOptions(scopes=("self", role_arn(OTHER_ACCOUNT), "self"))
    )
    assert next(iter(own.parts(pace))).key.account == ACCOUNT
    parts = {part.key.region: part for part in other.parts(pace)}
    assert other.name == f"aws {role_arn(OTHER_ACCOUNT)}"
    assert {part.key.account for part in parts.values()} == {OTHER_ACCOUNT}
    assert len(list(parts["us-east-1"].fetch(pace))) == 1
    assert len(list(parts["eu-west-1"].fetch(pace))) == 0


def test_the_account_is_asked_for_once(moto, pace):
    (provider,) = make_providers(ProviderOptions())
    for _ in range(3):
        list(provider.parts(pace))
    assert moto.calls() == {"GetCallerIdentity": 1, "DescribeRegions": 3}


@pytest.mark.parametrize(
    ("action", "permission"),
    [
        ("DescribeRegions", "ec2:DescribeRegions"),
        ("AssumeRole", "sts:AssumeRole"),
    ],
)
def test_a_refusal_says_what_is_missing(moto, pace, action, permission):
    moto.fail(denied(permission), action)
    (provider,) = make_providers(ProviderOptions(scopes=(role_arn(OTHER_ACCOUNT),)))
    with pytest.raises(PartFailed) as failed:
        list(provider.parts(pace))
    assert failed.value.missing_permission == permission


def test_without_credentials_it_says_so(moto, pace, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (provider,) = make_providers(ProviderOptions())
    with pytest.raises(PartFailed, match="no credentials"):
        list(provider.parts(pace))


def test_an_unknown_profile_is_no_crash(moto, pace, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    (provider,) = make_providers(ProviderOptions())
    with pytest.raises(PartFailed, match="nobody"):
        list(provider.parts(pace))


def test_a_role_has_to_be_one():
    with pytest.raises(SettingError, match="expected a role's name"):
        make_providers(ProviderOptions(scopes=("ebpf-net",)))
