"""What Google's API client raises, as the poller takes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import Any

from google.auth.exceptions import GoogleAuthError, TransportError
from googleapiclient.errors import (  # type: ignore[import-untyped]  # it has no types
    Error,
)
from httplib2 import HttpLib2Error  # type: ignore[import-untyped]  # it has no types

from ebpf_net.collectors.cloud.providers import (
    Answer,
    CallFailed,
    PartFailed,
    one_line,
)

_THROTTLED = frozenset(
    {
        "rateLimitExceeded",
        "userRateLimitExceeded",
        "quotaExceeded",
        "concurrentLimitExceeded",
        "dailyLimitExceeded",
        "RATE_LIMIT_EXCEEDED",
        "RESOURCE_EXHAUSTED",
    }
)
_DISABLED = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})
_NO_SCOPE = frozenset({"ACCESS_TOKEN_SCOPE_INSUFFICIENT"})
_NO_SCOPE_MESSAGE = "insufficient authentication scopes"
_PERMISSION = re.compile(
    r"Required '([\w.]+)' permission|[Pp]ermission '?([\w.]+\.\w+)'? denied"
)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")
_UNAUTHORIZED, _FORBIDDEN, _TIMEOUT, _TOO_MANY = 401, 403, 408, 429
_SERVER_ERROR = 500


class Refused(Exception):
    """An answer that is none. The client never sees it: some bodies make it fail."""

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.content = content


def ask(permission: str, request: Callable[[], Answer]) -> Answer:
    """Make one request; ``permission`` is what it needs, such as compute.routers.list.

    Raises CallFailed or PartFailed.
    """
    try:
        return request()
    except Refused as error:
        raise _of_answer(permission, error) from error
    except (TransportError, HttpLib2Error, HTTPException, OSError) as error:
        raise CallFailed(one_line(error)) from error
    except GoogleAuthError as error:
        reason = one_line(error.args[0] if error.args else error)
        if error.retryable:
            raise CallFailed(f"no token: {reason}") from error
        raise PartFailed(f"no credentials: {reason}") from error
    except ValueError as error:
        raise CallFailed(f"it is no JSON: {one_line(error)}") from error
    except Error as error:
        raise PartFailed(one_line(error)) from error


def _of_answer(permission: str, error: Refused) -> CallFailed | PartFailed:
    status = error.status
    body = _body(error.content)
    message = str(body.get("message") or "without a reason")
    details = list(_details(body))
    reasons = {str(one.get("reason", "")) for one in details}
    reasons.add(str(body.get("status", "")))
    text = one_line(f"{status} {message}")
    after = _retry_after(error.headers, details)
    if status == _TOO_MANY or (status == _FORBIDDEN and reasons & _THROTTLED):
        return CallFailed(text, throttled=True, retry_after_seconds=after)
    if status in (_UNAUTHORIZED, _TIMEOUT) or status >= _SERVER_ERROR:
        return CallFailed(text, retry_after_seconds=after)
    if status != _FORBIDDEN:
        return PartFailed(text)
    if reasons & _DISABLED:
        return PartFailed(f"the API is not enabled ({text})")
    if reasons & _NO_SCOPE or _NO_SCOPE_MESSAGE in message:
        return PartFailed(f"the access scopes do not suffice ({text})")
    return PartFailed(f"not allowed ({text})", _named(message, details) or permission)


def _body(content: bytes) -> Mapping[str, Any]:
    """Return what Google says of an error; nothing if something else answered."""
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _details(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what says more of an error: ``errors`` of old, ``details`` of late."""
    for name in ("errors", "details"):
        found = body.get(name)
        if isinstance(found, list):
            yield from (one for one in found if isinstance(one, dict))


def _named(message: str, details: list[Mapping[str, Any]]) -> str:
    """Return the permission that an error names; or nothing."""
    for detail in details:
        metadata = detail.get("metadata")
        if isinstance(metadata, dict) and metadata.get("permission"):
            return str(metadata["permission"])
    named = _PERMISSION.search(message)
    return (named.group(1) or named.group(2)) if named else ""


def _retry_after(headers: Mapping[str, str], details: list[Mapping[str, Any]]) -> float:
    """Return the seconds that are asked for; a date is not looked at."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        delays = (_SECONDS.fullmatch(str(one.get("retryDelay"))) for one in details)
        return max((float(delay.group(1)) for delay in delays if delay), default=0.0)
