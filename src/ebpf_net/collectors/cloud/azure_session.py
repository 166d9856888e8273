"""Calls of the Azure Resource Manager, with the SDK's credentials and pipeline.

The clients of ``azure-mgmt-network`` and ``azure-mgmt-compute`` hold 40 MB of classes,
of which listings need none. They all are an ARMPipelineClient underneath, and so is
this. It tries nothing again: that is the pace's.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from azure.core.pipeline.policies import (
    HeadersPolicy,
    ProxyPolicy,
    RequestIdPolicy,
    UserAgentPolicy,
)
from azure.core.rest import HttpRequest, HttpResponse
from azure.identity import DefaultAzureCredential
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

from ebpf_net.collectors.cloud.at_hand import AZURE
from ebpf_net.collectors.cloud.azure_errors import OK, UNAUTHORIZED, ask, failure_of
from ebpf_net.collectors.cloud.providers import (
    Budget,
    CallFailed,
    PartFailed,
    ProviderOptions,
)
from ebpf_net.errors import SettingError

Item = Mapping[str, Any]

_AUTHORITY = "AZURE_AUTHORITY_HOST"
_ENDPOINT = "AZURE_RESOURCE_MANAGER_ENDPOINT"
_AUDIENCE = "AZURE_RESOURCE_MANAGER_AUDIENCE"
_PUBLIC = "login.microsoftonline.com"
_CHINA = ("https://management.chinacloudapi.cn", "https://management.chinacloudapi.cn")
_CLOUDS: Mapping[str, tuple[str, str]] = {
    _PUBLIC: ("https://management.azure.com", "https://management.azure.com"),
    "login.microsoftonline.us": (
        "https://management.usgovcloudapi.net",
        "https://management.core.usgovcloudapi.net",
    ),
    "login.chinacloudapi.cn": _CHINA,
    "login.partner.microsoftonline.cn": _CHINA,
}
"""Endpoint and audience by the host that gives tokens."""
_MANAGED_IDENTITY = (
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
)
"""Variables that name a service for managed identities that is not the machine's."""
_HTTPS_PORT = 443


@dataclass(frozen=True)
class Cloud:
    """Which of Azure's clouds is asked."""

    endpoint: str
    audience: str
    is_known: bool
    """Whether it is one of Microsoft's, whose hosts a token may be asked for."""


def cloud_of(environment: Mapping[str, str]) -> Cloud:
    """Return the cloud that variables name. Raises SettingError."""
    authority = environment.get(_AUTHORITY) or _PUBLIC
    host = urlsplit(authority if "//" in authority else f"//{authority}").hostname or ""
    endpoint, audience = _CLOUDS.get(host, _CLOUDS[_PUBLIC])
    named = environment.get(_ENDPOINT)
    if named:
        endpoint = audience = named.rstrip("/")
        if urlsplit(endpoint).scheme != "https":
            raise SettingError(
                f"{_ENDPOINT} is '{named}', expected an address that begins with "
                "https://"
            )
    audience = environment.get(_AUDIENCE) or audience
    return Cloud(endpoint, audience.rstrip("/"), host in _CLOUDS)


class AzureSession:
    """Calls with one set of credentials, which the SDK renews. For any thread."""

    def __init__(self, options: ProviderOptions) -> None:
        # Each attempt of each credential, over many lines; failures are told once.
        logging.getLogger("azure").setLevel(logging.ERROR)
        self._cloud = cloud_of(options.environment)
        self._seconds = options.timeout_seconds
        self._asks_metadata = options.here == AZURE or any(
            options.environment.get(name) for name in _MANAGED_IDENTITY
        )
        self._lock = threading.Lock()
        self._client: _Client | None = None

    def get(self, permission: str, url: str) -> Item:
        """Return what is at a path or an address. Raises CallFailed or PartFailed."""
        client = self._connect()
        whole = f"{self._cloud.endpoint}{url}" if url.startswith("/") else url
        response = ask(lambda: client.send_request(HttpRequest("GET", whole)))
        body = response.content
        if response.status_code != OK:
            if response.status_code == UNAUTHORIZED:
                self._renew(client)
            raise failure_of(permission, response.status_code, response.headers, body)
        try:
            found = json.loads(body)
        except ValueError as error:
            raise CallFailed(f"no JSON: {error}") from error
        if not isinstance(found, dict):
            raise CallFailed("no object of JSON")
        return found

    def pages(self, budget: Budget, permission: str, path: str) -> Iterator[list[Item]]:
        """Yield the items of all pages, without keeping one."""
        url = path
        while url:
            answer = budget.call(permission, partial(self._page, permission, url))
            yield answer["value"]
            last, url = url, answer.get("nextLink") or ""
            if url and (url == last or not self._is_here(url)):
                raise PartFailed(f"{permission}: the next page is at {url}")

    def _page(self, permission: str, url: str) -> Item:
        answer = self.get(permission, url)
        if not isinstance(answer.get("value"), list):
            raise CallFailed("no list in the answer")
        return answer

    def _is_here(self, url: str) -> bool:
        """Whether an address is the endpoint's: no other may see the token."""
        return _origin(url) == _origin(self._cloud.endpoint)

    def _connect(self) -> _Client:
        with self._lock:
            if self._client is None:
                self._client = ask(self._make_client)
            return self._client

    def _renew(self, client: _Client) -> None:
        """Have new credentials made: what these have kept is not taken any more."""
        with self._lock:
            if self._client is client:
                self._client = None

    def _make_client(self) -> _Client:
        limits = {
            "connection_timeout": self._seconds,
            "read_timeout": self._seconds,
        }
        try:
            credential = DefaultAzureCredential(
                exclude_managed_identity_credential=not self._asks_metadata,
                disable_instance_discovery=not self._cloud.is_known,
                retry_total=0,
                **limits,
            )
        except ValueError as error:
            raise PartFailed(f"no credentials: {error}") from error
        policies = [
            RequestIdPolicy(),
            HeadersPolicy({"Accept": "application/json"}),
            UserAgentPolicy("ebpf-net"),
            ProxyPolicy(),
            ARMChallengeAuthenticationPolicy(
                credential, f"{self._cloud.audience}/.default"
            ),
        ]
        client: _Client = ARMPipelineClient(
            self._cloud.endpoint, policies=policies, **limits
        )
        return client


_Client = ARMPipelineClient[HttpRequest, HttpResponse]


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _HTTPS_PORT
