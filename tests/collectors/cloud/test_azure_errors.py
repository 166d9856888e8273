import json
import time
from email.utils import formatdate

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseError,
)
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.cloud.azure_errors import (
    NotFound,
    ask,
    failure_of,
    retry_after_seconds,
)
from ebpf_net.collectors.cloud.providers import CallFailed, PartFailed

_PERMISSION = "Microsoft.Network/networkInterfaces/read"


def _failure(status, code="Code", message="text", **headers):
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return failure_of(_PERMISSION, status, headers, body)


def test_an_answer_is_passed_on():
    assert ask(lambda: 5) == 5


def test_a_refusal_names_the_action_that_is_missing():
    message = (
        "The client 'a@b' with object id 'c' does not have authorization to perform "
        "action 'Microsoft.Compute/virtualMachineScaleSets/networkInterfaces/read' "
        "over scope '/subscriptions/x' or the scope is invalid."
    )
    failed = _failure(403, "AuthorizationFailed", message)
    assert isinstance(failed, PartFailed)
    assert failed.reason.startswith("not allowed (AuthorizationFailed: The client")
    assert failed.missing_permission == (
        "Microsoft.Compute/virtualMachineScaleSets/networkInterfaces/read"
    )


def test_a_refusal_without_an_action_is_what_was_asked():
    failed = _failure(403, "RequestDisallowedByPolicy", "no")
    assert isinstance(failed, PartFailed)
    assert failed.missing_permission == _PERMISSION


def test_throttling_says_for_how_long():
    failed = _failure(429, "TooManyRequests", **{"Retry-After": "17"})
    assert isinstance(failed, CallFailed)
    assert (failed.throttled, failed.retry_after_seconds) == (True, 17.0)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_what_is_wrong_at_azure_is_tried_again(status):
    failed = _failure(status, **{"Retry-After": "3"})
    assert isinstance(failed, CallFailed)
    assert (failed.throttled, failed.retry_after_seconds) == (False, 3.0)


def test_another_token_may_be_taken():
    assert isinstance(_failure(401, "ExpiredAuthenticationToken"), CallFailed)


def test_a_token_of_another_tenant_is_no_use():
    failed = _failure(401, "InvalidAuthenticationTokenTenant", "wrong issuer")
    assert isinstance(failed, PartFailed)


def test_what_is_not_there_is_told_from_other_failures():
    assert isinstance(_failure(404, "ResourceNotFound"), NotFound)
    assert not isinstance(_failure(400, "InvalidApiVersionParameter"), NotFound)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": "x"}', b"\xff"])
def test_a_body_that_is_no_error_says_the_status(body):
    failed = failure_of(_PERMISSION, 502, {}, body)
    assert failed.reason == "status 502"


def test_dates_are_taken_for_waits():
    header = formatdate(time.time() + 60, usegmt=True)
    assert 50 < retry_after_seconds({"Retry-After": header}) <= 60
    assert retry_after_seconds({"Retry-After": formatdate(0, usegmt=True)}) == 0


@given(st.text() | st.sampled_from(["inf", "nan", "-1", "1e300"]))
def test_any_wait_is_a_number(text):
    assert 0 <= retry_after_seconds({"Retry-After": text}) <= 3600


@pytest.mark.parametrize("error", [ServiceRequestError("x"), ServiceResponseError("x")])
def test_connections_that_fail_are_tried_again(error):
    with pytest.raises(CallFailed):
        ask(lambda: _raise(error))


def test_credentials_that_fail_are_not_tried_again():
    with pytest.raises(PartFailed, match="no credentials: none of them"):
        ask(lambda: _raise(ClientAuthenticationError("none\n of them")))


def test_anything_else_of_the_sdk_fails_the_part():
    with pytest.raises(PartFailed):
        ask(lambda: _raise(AzureError("x")))


def _raise(error):
    raise error
