"""What Azure answers instead of what was asked for, as the poller takes it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)

from ebpf_net.collectors.cloud.providers import (
    Answer,
    CallFailed,
    PartFailed,
    one_line,
)

OK, UNAUTHORIZED = 200, 401
_FORBIDDEN, _NOT_FOUND, _TIMED_OUT, _TOO_MANY, _SERVER_ERROR = 403, 404, 408, 429, 500
_WRONG_TENANT = "InvalidAuthenticationTokenTenant"
_ACTION = re.compile(r"perform (?:the )?action\(?s?\)? '([\w.-]+(?:/[\w*-]+)+)'", re.I)
_LONGEST_WAIT_SECONDS = 3600.0


class NotFound(PartFailed):
    """There is no such resource, or none any more."""


def ask(request: Callable[[], Answer]) -> Answer:
    """Make one request with the SDK. Raises CallFailed or PartFailed."""
    try:
        return request()
    except (
        ServiceRequestError,
        ServiceResponseError,
        IncompleteReadError,
        DecodeError,
    ) as error:
        raise CallFailed(one_line(error)) from error
    except ClientAuthenticationError as error:
        raise PartFailed(f"no credentials: {one_line(error)}") from error
    except AzureError as error:
        raise PartFailed(one_line(error)) from error


def failure_of(
    permission: str, status: int, headers: Mapping[str, str], body: bytes
) -> CallFailed | PartFailed:
    """Return what an answer means that is none.

    ``permission`` is what the request needs, such as
    ``Microsoft.Network/networkInterfaces/read``.
    """
    code, message = _read_error(body)
    reason = one_line(f"{code}: {message}" if message else code or f"status {status}")
    after = retry_after_seconds(headers)
    if status == _TOO_MANY:
        return CallFailed(reason, throttled=True, retry_after_seconds=after)
    if status in (_TIMED_OUT, UNAUTHORIZED) and code != _WRONG_TENANT:
        return CallFailed(reason)
    if status >= _SERVER_ERROR:
        return CallFailed(reason, retry_after_seconds=after)
    if status == _FORBIDDEN:
        named = _ACTION.search(message)
        missing = named.group(1) if named else permission
        return PartFailed(f"not allowed ({reason})", missing)
    if status == _NOT_FOUND:
        return NotFound(reason)
    return PartFailed(reason)


def retry_after_seconds(headers: Mapping[str, str]) -> float:
    """Return what the header Retry-After asks for, seconds or a date; 0: nothing."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(0.0, seconds), _LONGEST_WAIT_SECONDS)


def _read_error(body: bytes) -> tuple[str, str]:
    """Return code and message of an error's body; blank where it is something else."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        return "", ""
    error = found.get("error", found) if isinstance(found, dict) else None
    if not isinstance(error, dict):
        return "", ""
    return str(error.get("code") or ""), str(error.get("message") or "")
