import json

import httplib2
import pytest
from google.auth.exceptions import (
    DefaultCredentialsError,
    MalformedError,
    RefreshError,
    TransportError,
)
from googleapiclient.errors import UnknownApiNameOrVersion
from hypothesis import given
from hypothesis import strategies as st
from tests.world.gcp_api import fault, not_enabled, rate_limited

from ebpf_net.collectors.cloud.gcp_errors import Refused, ask
from ebpf_net.collectors.cloud.providers import CallFailed, PartFailed

_PERMISSION = "compute.instances.list"


def _error(content, status=403, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refused(status, fields, content)


def _answer(fault, **headers):
    content = json.dumps({"error": fault.error}).encode()
    return _error(content, fault.status, **headers)


def _ask(error):
    def request():
        raise error

    return ask(_PERMISSION, request)


def test_an_answer_is_passed_on():
    assert ask(_PERMISSION, lambda: 5) == 5


@pytest.mark.parametrize(
    ("message", "permission"),
    [
        (
            "Required 'compute.routers.list' permission for 'projects/p'",
            "compute.routers.list",
        ),
        (
            "Permission 'cloudsql.instances.list' denied on resource 'p' (or so)",
            "cloudsql.instances.list",
        ),
        ("The client is not authorized to make this request.", _PERMISSION),
        ("Forbidden", _PERMISSION),
    ],
)
def test_a_refusal_says_which_permission_is_missing(message, permission):
    with pytest.raises(PartFailed, match="not allowed") as failed:
        _ask(_answer(fault(403, "forbidden", message)))
    assert failed.value.missing_permission == permission


def test_a_refusal_may_name_the_permission_in_its_details():
    found = fault(403, "forbidden", "denied")
    found.error["details"] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "IAM_PERMISSION_DENIED",
            "metadata": {"permission": "compute.addresses.list"},
        }
    ]
    with pytest.raises(PartFailed) as failed:
        _ask(_answer(found))
    assert failed.value.missing_permission == "compute.addresses.list"


def test_what_is_not_enabled_lacks_no_permission():
    with pytest.raises(PartFailed, match="the API is not enabled") as failed:
        _ask(_answer(not_enabled("sqladmin.googleapis.com")))
    assert failed.value.missing_permission == ""


def test_access_scopes_are_told_from_permissions():
    message = "Request had insufficient authentication scopes."
    with pytest.raises(PartFailed, match="access scopes") as failed:
        _ask(_answer(fault(403, "insufficientPermissions", message)))
    assert failed.value.missing_permission == ""


@pytest.mark.parametrize(
    "found",
    [
        rate_limited(1),
        fault(403, "userRateLimitExceeded"),
        fault(403, "quotaExceeded"),
        fault(429, "rateLimitExceeded"),
        fault(429, "whatever"),
    ],
)
def test_throttling_is_told_from_refusals(found):
    with pytest.raises(CallFailed) as failed:
        _ask(_answer(found))
    assert failed.value.throttled


def test_it_says_for_how_long_to_wait():
    found = fault(429, "rateLimitExceeded")
    with pytest.raises(CallFailed) as failed:
        _ask(_answer(found, retry_after="7"))
    assert failed.value.retry_after_seconds == 7
    found.error["details"] = [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"}
    ]
    with pytest.raises(CallFailed) as failed:
        _ask(_answer(found, retry_after="Fri, 31 Dec 2027 23:59:59 GMT"))
    assert failed.value.retry_after_seconds == 12.5


@pytest.mark.parametrize(
    "error",
    [
        _answer(fault(500, "backendError")),
        _answer(fault(503, "backendError")),
        _answer(fault(401, "authError")),
        _error(b"<html>Bad gateway</html>", 502),
        TransportError("connection refused"),
        RefreshError("internal_failure", retryable=True),
        httplib2.ServerNotFoundError("compute.googleapis.com"),
        TimeoutError("timed out"),
        ConnectionResetError(),
        json.JSONDecodeError("no JSON", "<html>", 0),
    ],
)
def test_what_passes_is_tried_again(error):
    with pytest.raises(CallFailed) as failed:
        _ask(error)
    assert not failed.value.throttled


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RefreshError("invalid_grant: who\n are you", {}),
            "invalid_grant: who are",
        ),
        (DefaultCredentialsError("there is no file"), "no credentials: there is no"),
        (MalformedError("no private key"), "no credentials: no private key"),
        (
            _answer(fault(404, "notFound", "'projects/p' was not found")),
            "404 'projects",
        ),
        (UnknownApiNameOrVersion("compute"), "compute"),
    ],
)
def test_what_stays_fails_the_part(error, reason):
    with pytest.raises(PartFailed, match=reason) as failed:
        _ask(error)
    assert failed.value.missing_permission == ""


def test_a_long_reason_is_cut():
    with pytest.raises(PartFailed) as failed:
        _ask(_answer(fault(404, "notFound", "m" * 10_000)))
    assert len(failed.value.reason) < 610


_KEYS = st.sampled_from(
    ["error", "errors", "details", "message", "metadata", "permission", "reason"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda one: st.lists(one) | st.dictionaries(_KEYS, one),
)


@given(
    st.binary() | _JSON.map(lambda one: json.dumps({"error": one}).encode()),
    st.sampled_from([400, 401, 403, 404, 429, 500]),
)
def test_any_body_of_an_error_is_one(content, status):
    with pytest.raises((CallFailed, PartFailed)):
        _ask(_error(content, status))
