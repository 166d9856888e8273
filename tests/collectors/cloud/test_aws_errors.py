import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from ebpf_net.collectors.cloud.aws_errors import ask
from ebpf_net.collectors.cloud.providers import CallFailed, PartFailed


def _answer(code, message="", status=400, **headers):
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return ClientError(response, "DescribeInstances")


def _ask(error):
    def request():
        raise error

    return ask("ec2:DescribeInstances", request)


def test_an_answer_is_passed_on():
    assert ask("ec2:DescribeInstances", lambda: 5) == 5


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AccessDenied"])
def test_a_refusal_says_which_permission_is_missing(code):
    with pytest.raises(PartFailed, match="not allowed") as failed:
        _ask(_answer(code, "You are not authorized to perform this operation.", 403))
    assert failed.value.missing_permission == "ec2:DescribeInstances"


def test_a_refusal_may_name_another_permission():
    message = "User: arn:x is not authorized to perform: sts:AssumeRole on resource: r"
    with pytest.raises(PartFailed) as failed:
        _ask(_answer("AccessDenied", message, 403))
    assert failed.value.missing_permission == "sts:AssumeRole"


@pytest.mark.parametrize(
    "error",
    [
        _answer("RequestLimitExceeded", "too many", 503),
        _answer("Throttling"),
        _answer("Whatever", status=429),
    ],
)
def test_throttling_is_told_from_other_failures(error):
    with pytest.raises(CallFailed) as failed:
        _ask(error)
    assert failed.value.throttled


def test_it_says_for_how_long_to_wait():
    with pytest.raises(CallFailed) as failed:
        _ask(_answer("Throttling", **{"retry-after": "7"}))
    assert failed.value.retry_after_seconds == 7
    with pytest.raises(CallFailed) as failed:
        _ask(_answer("Throttling", **{"retry-after": "tomorrow"}))
    assert failed.value.retry_after_seconds == 0


@pytest.mark.parametrize(
    "error",
    [
        _answer("InternalError", status=500),
        _answer("ExpiredToken", status=403),
        ReadTimeoutError(endpoint_url="u"),
        EndpointConnectionError(endpoint_url="u"),
        ResponseParserError("no XML"),
    ],
)
def test_what_passes_is_tried_again(error):
    with pytest.raises(CallFailed) as failed:
        _ask(error)
    assert not failed.value.throttled


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NoCredentialsError(), "no credentials"),
        (ProfileNotFound(profile="p"), "profile"),
        (_answer("OptInRequired", "not yours"), "OptInRequired: not yours"),
        (_answer("AuthFailure", "who\n are you", 401), "AuthFailure: who are you"),
    ],
)
def test_what_stays_fails_the_part(error, reason):
    with pytest.raises(PartFailed, match=reason) as failed:
        _ask(error)
    assert failed.value.missing_permission == ""


def test_a_long_reason_is_cut():
    with pytest.raises(PartFailed) as failed:
        _ask(_answer("X", "m" * 10_000))
    assert len(failed.value.reason) < 610
