"""Clients of the AWS API: botocore, the SDK below boto3, with less in memory.

botocore loads the description of all of EC2, 24 MB; only what is called here is kept.
It tries nothing again: that is the pace's.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
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
from botocore.loaders import Loader, instance_cache  # type: ignore[import-untyped]
from botocore.session import Session  # type: ignore[import-untyped]

_SERVICE_MODEL = "service-2"
_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "ec2": (
        "DescribeAvailabilityZones",
        "DescribeInstances",
        "DescribeNetworkInterfaces",
        "DescribeRegions",
    )
}
_DEFAULT_REGION = "us-east-1"
_ROLE_SESSION = "ebpf-net-cloud-collector"
_METADATA_PROVIDER = "iam-role"
_METADATA_ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT"


@dataclass(frozen=True)
class SessionOptions:
    """Whose credentials are used, and for how long an answer is waited for."""

    role_arn: str = ""
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
        self.region: str = session.get_config_variable("region") or _DEFAULT_REGION
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
    loader = _LeanLoader(session.get_config_variable("data_path"))
    session.register_component("data_loader", loader)
    if not options.asks_metadata:
        session.get_component("credential_provider").remove(_METADATA_PROVIDER)
    return session


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


class _LeanLoader(Loader):  # type: ignore[misc]  # it has no types
    """Loads descriptions of services without texts, and of EC2 only what is called."""

    @instance_cache  # type: ignore[untyped-decorator]
    def load_service_model(
        self, service_name: str, type_name: str, api_version: str | None = None
    ) -> Any:
        model = super().load_service_model(service_name, type_name, api_version)
        if type_name == _SERVICE_MODEL:
            model = _lean(model, _OPERATIONS.get(service_name))
        self._cache.clear()  # the whole model is there, too
        return model


def _lean(model: Mapping[str, Any], operations: tuple[str, ...] | None) -> Any:
    """Return a model with some operations, and the shapes that they use."""
    kept = {
        name: operation
        for name, operation in model["operations"].items()
        if operations is None or name in operations
    }
    shapes: dict[str, Any] = {}
    for operation in kept.values():
        _keep_shapes(operation, model["shapes"], shapes)
    whole = {**model, "operations": kept, "shapes": shapes}
    return _without_texts(whole)


def _keep_shapes(part: object, shapes: Mapping[str, Any], kept: dict[str, Any]) -> None:
    """Add all shapes that a part of a model names, and those that they name."""
    if isinstance(part, list):
        for one in part:
            _keep_shapes(one, shapes, kept)
    elif isinstance(part, dict):
        name = part.get("shape")
        if isinstance(name, str) and name in shapes and name not in kept:
            kept[name] = shapes[name]
            _keep_shapes(shapes[name], shapes, kept)
        for one in part.values():
            _keep_shapes(one, shapes, kept)


def _without_texts(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            name: _without_texts(one)
            for name, one in part.items()
            if name != "documentation" or not isinstance(one, str)
        }
    if isinstance(part, list):
        return [_without_texts(one) for one in part]
    return part
