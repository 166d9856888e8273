import pytest
from botocore.exceptions import NoCredentialsError
from tests.world.moto_world import ACCOUNT, OTHER_ACCOUNT, role_arn

from ebpf_net.collectors.cloud.aws_session import AwsSession, SessionOptions


def test_clients_speak_with_the_own_credentials(moto):
    session = AwsSession(SessionOptions())
    assert session.region == "us-east-1"
    assert session.client("sts").get_caller_identity()["Account"] == ACCOUNT


def test_clients_speak_with_a_role(moto):
    session = AwsSession(SessionOptions(role_arn(OTHER_ACCOUNT)))
    assert session.client("sts").get_caller_identity()["Account"] == OTHER_ACCOUNT
    session.client("ec2", "eu-west-1").describe_regions()
    assert moto.calls("AssumeRole") == {"AssumeRole": 1}


def test_the_region_of_the_environment_is_where_it_begins(moto, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert AwsSession(SessionOptions()).region == "eu-west-1"
    assert AwsSession(SessionOptions(region="us-gov-west-1")).region == "eu-west-1"


def test_a_region_given_is_where_it_begins_if_nothing_else_names_one(moto):
    assert AwsSession(SessionOptions(region="cn-north-1")).region == "cn-north-1"


def test_only_what_is_called_of_ec2_is_kept(moto):
    client = AwsSession(SessionOptions()).client("ec2")
    model = client.meta.service_model
    assert sorted(model.operation_names) == [
        "DescribeAvailabilityZones",
        "DescribeInstances",
        "DescribeNetworkInterfaces",
        "DescribeRegions",
    ]
    assert model.operation_model("DescribeInstances").documentation == ""


def test_nothing_is_tried_again_by_the_sdk(moto):
    client = AwsSession(SessionOptions()).client("ec2")
    retries = client.meta.config.retries
    assert retries["total_max_attempts"] == 1


@pytest.mark.parametrize("role", ["", role_arn(OTHER_ACCOUNT)])
def test_outside_aws_no_metadata_service_is_asked_for_credentials(
    moto, monkeypatch, role
):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    # It would be asked there, if it were asked.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", moto.url)
    session = AwsSession(SessionOptions(role))
    with pytest.raises(NoCredentialsError):
        session.client("ec2").describe_regions()
    assert not moto.calls()
