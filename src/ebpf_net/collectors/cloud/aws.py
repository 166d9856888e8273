"""Amazon Web Services: the accounts that credentials or roles reach."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ebpf_net.collectors.cloud.at_hand import AWS
from ebpf_net.collectors.cloud.aws_errors import ask
from ebpf_net.collectors.cloud.aws_region import AwsRegion
from ebpf_net.collectors.cloud.aws_session import AwsSession, SessionOptions
from ebpf_net.collectors.cloud.providers import (
    Budget,
    Part,
    PartKey,
    Provider,
    ProviderOptions,
)
from ebpf_net.errors import SettingError

_OWN = "self"
_ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_METADATA_ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT"


def make_providers(options: ProviderOptions) -> Sequence[Provider]:
    """Return one provider for each role; ``self`` or none: the own credentials."""
    return [
        AwsAccount(role, options)
        for role in dict.fromkeys(map(_role, options.scopes or (_OWN,)))
    ]


class AwsAccount:
    """The regions of one account; a Provider."""

    def __init__(self, role_arn: str, options: ProviderOptions) -> None:
        self.name = f"{AWS} {role_arn}" if role_arn else AWS
        self._role_arn = role_arn
        self._options = options
        self._session: AwsSession | None = None
        self._account = ""

    def parts(self, budget: Budget) -> Iterator[Part]:
        """Return all regions that are enabled; see Provider."""
        session = self._connect()
        if not self._account:
            self._account = _account(session, budget)
        for region in _regions(session, budget):
            key = PartKey(AWS, self._account, region)
            yield AwsRegion(key, session, self._options.tags)

    def _connect(self) -> AwsSession:
        if self._session is None:
            options = self._options
            self._session = ask(
                "",
                lambda: AwsSession(
                    SessionOptions(
                        role_arn=self._role_arn,
                        region=options.environment.get("AWS_REGION", ""),
                        timeout_seconds=options.timeout_seconds,
                        asks_metadata=options.here == AWS
                        or _METADATA_ENDPOINT in options.environment,
                    )
                ),
            )
        return self._session


def _role(text: str) -> str:
    if text == _OWN:
        return ""
    if not _ROLE_ARN.fullmatch(text):
        raise SettingError(
            f"--aws-role-arn is '{text}', expected a role's name such as "
            "arn:aws:iam::123456789012:role/names, or self"
        )
    return text


def _account(session: AwsSession, budget: Budget) -> str:
    """Return the account's number; this needs no permission."""
    operation = "sts:GetCallerIdentity"
    answer = budget.call(
        operation,
        lambda: ask(operation, lambda: session.client("sts").get_caller_identity()),
    )
    return str(answer["Account"])


def _regions(session: AwsSession, budget: Budget) -> list[str]:
    operation = "ec2:DescribeRegions"
    answer = budget.call(
        operation,
        lambda: ask(operation, lambda: session.client("ec2").describe_regions()),
    )
    return sorted(one["RegionName"] for one in answer["Regions"])
