"""What botocore raises, as the poller takes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import (  # type: ignore[import-untyped]  # it has no types
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from ebpf_net.collectors.cloud.providers import (
    Answer,
    CallFailed,
    PartFailed,
    one_line,
)

_DENIED = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
_THROTTLED = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "EC2ThrottledException",
        "BandwidthLimitExceeded",
        "SlowDown",
    }
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_PERMISSION = re.compile(r"not authorized to perform:? ([\w-]+:\w+)")
_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500


def ask(permission: str, request: Callable[[], Answer]) -> Answer:
    """Make one request; ``permission`` is what it needs, such as ec2:DescribeRegions.

    Raises CallFailed or PartFailed.
    """
    try:
        return request()
    except ClientError as error:
        raise _of_answer(permission, error) from error
    except (
        HTTPClientError,
        BotoConnectionError,
        IncompleteReadError,
        ResponseParserError,
    ) as error:
        raise CallFailed(one_line(error)) from error
    except (
        NoCredentialsError,
        PartialCredentialsError,
        CredentialRetrievalError,
        SSOError,
        UnauthorizedSSOTokenError,
    ) as error:
        raise PartFailed(f"no credentials: {one_line(error)}") from error
    except BotoCoreError as error:
        raise PartFailed(one_line(error)) from error


def _of_answer(permission: str, error: ClientError) -> CallFailed | PartFailed:
    details = error.response.get("Error", {})
    metadata = error.response.get("ResponseMetadata", {})
    code, message = str(details.get("Code", "")), str(details.get("Message", ""))
    status = metadata.get("HTTPStatusCode", 0)
    reason = one_line(f"{code}: {message}" if message else code)
    if code in _THROTTLED or status == _TOO_MANY_REQUESTS:
        after = _retry_after(metadata.get("HTTPHeaders", {}))
        return CallFailed(reason, throttled=True, retry_after_seconds=after)
    if code in _DENIED:
        named = _PERMISSION.search(message)
        missing = named.group(1) if named else permission
        return PartFailed(f"not allowed ({reason})", missing)
    if code in _EXPIRED or status >= _SERVER_ERROR:
        after = _retry_after(metadata.get("HTTPHeaders", {}))
        return CallFailed(reason, retry_after_seconds=after)
    return PartFailed(reason)


def _retry_after(headers: Mapping[str, Any]) -> float:
    """Return the seconds of the header Retry-After; a date is not looked at."""
    try:
        return max(0.0, float(headers.get("retry-after", 0)))
    except ValueError:
        return 0.0
