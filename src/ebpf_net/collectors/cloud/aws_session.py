"""Clients of the AWS API: botocore, the SDK below boto3, with less in memory.

It tries nothing again: that is the pace's.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.config import Config  # type: ignore[import-untyped]  # it has no types
from botocore.credentials import (  # type: ignore[import-untyped]
    AssumeRoleCredentialFetcher,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError  # type: ignore[import-untyped]
from botocore.session import Session  # type: ignore[import-untyped]

from ebpf_net.collectors.cloud.aws_models import LeanLoader

_DEFAULT_REGION = "us-east-1"
_ROLE_SESSION = "ebpf-net-cloud-collector"
_METADATA_PROVIDER = "iam-role"


@dataclass(frozen=True)
class SessionOptions:
    """Whose credentials are used, and for how long an answer is waited for."""

    role_arn: str = ""
    region: str = ""  # where the profile and botocore's own variable name none
    timeout_seconds: float = 20.0
    asks_metadata: bool = False
    """Whether the machine's own metadata service may give credentials."""


class AwsSession:
    """Clients with one set of credentials, which botocore renews. For any thread."""

    def __init__(self, options: SessionOptions) -> None:
        self._lock = threading.Lock()
        self._config = Config(
            connect_timeout=options.timeout_seconds,
            read_timeout=options.timeout_seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=1,
            parameter_validation=False,
            user_agent_extra="ebpf-net",
        )
        session = _plain_session(options)
        region = session.get_config_variable("region") or options.region
        self.region: str = region or _DEFAULT_REGION
        """Where to begin; those of China and of governments have to be named."""
        if options.role_arn:
            session = _with_role(session, options.role_arn, self.region)
        self._session = session

    def client(self, service: str, region: str = "") -> Any:
        """Return a client, for one thread at a time. Raises what botocore does."""
        with self._lock:  # a session is not for several threads
            return self._session.create_client(
                service, region_name=region or self.region, config=self._config
            )


def _plain_session(options: SessionOptions) -> Any:
    session = Session()
    session.register_component("data_loader", LeanLoader())
    _leave_times(session)
    if not options.asks_metadata:
        session.get_component("credential_provider").remove(_METADATA_PROVIDER)
    return session


def _leave_times(session: Any) -> None:
    """Have times left as texts: to read them takes a third of all time otherwise."""
    factory = session.get_component("response_parser_factory")
    factory.set_parser_defaults(timestamp_parser=str)


def _with_role(session: Any, role_arn: str, region: str) -> Any:
    """Return a session with the credentials of a role, taken anew before they end."""
    fetcher = AssumeRoleCredentialFetcher(
        partial(session.create_client, region_name=region),
        _OwnCredentials(session),
        role_arn,
        extra_args={"RoleSessionName": _ROLE_SESSION},
    )
    assumed = Session()
    assumed.register_component("data_loader", session.get_component("data_loader"))
    _leave_times(assumed)
    resolver = CredentialResolver([_RoleProvider(fetcher)])
    assumed.register_component("credential_provider", resolver)
    return assumed


class _OwnCredentials:
    """The session's own credentials, looked for when they are used first."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def get_frozen_credentials(self) -> Any:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return credentials.get_frozen_credentials()


class _RoleProvider:
    """Gives a role's credentials; as botocore's providers have it."""

    METHOD = "assume-role"
    CANONICAL_NAME = None

    def __init__(self, fetcher: Any) -> None:
        self._fetcher = fetcher

    def load(self) -> Any:
        return DeferredRefreshableCredentials(
            self._fetcher.fetch_credentials, self.METHOD
        )
