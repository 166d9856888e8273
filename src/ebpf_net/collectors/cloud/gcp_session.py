"""Clients of Google Cloud's APIs: the official library, with less in memory.

It comes with descriptions of all that an API can do, 5 MB for compute; only what is
called here is kept. It tries nothing again: that is the pace's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import google.auth
import httplib2  # type: ignore[import-untyped]  # it has no types
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google_auth_httplib2 import Request  # type: ignore[import-untyped]
from googleapiclient.discovery import (  # type: ignore[import-untyped]
    build_from_document,
)
from googleapiclient.discovery_cache import (  # type: ignore[import-untyped]
    get_static_doc,
)

from ebpf_net.collectors.cloud.at_hand import GCP
from ebpf_net.collectors.cloud.gcp_errors import Refused
from ebpf_net.collectors.cloud.providers import ProviderOptions

COMPUTE, SQL = "compute", "sqladmin"
_VERSION = "v1"
_METHODS: Mapping[str, Mapping[str, str]] = {
    COMPUTE: {
        "addresses": "aggregatedList",
        "forwardingRules": "aggregatedList",
        "instanceGroupManagers": "aggregatedList",
        "instances": "aggregatedList",
        "routers": "aggregatedList",
    },
    SQL: {"instances": "list"},
}
_ENDPOINTS = {
    COMPUTE: "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE",
    SQL: "CLOUDSDK_API_ENDPOINT_OVERRIDES_SQL",
}
"""Variables of gcloud: where APIs are, such as ``https://host/compute/v1/``."""
_PARTIAL = {
    "returnPartialSuccess": {
        "location": "query",
        "type": "boolean",
    }
}
"""Documented and recommended for all of compute's lists, but not always described."""
_SCOPES = (
    "https://www.googleapis.com/auth/compute.readonly",
    "https://www.googleapis.com/auth/sqlservice.admin",
)
"""The least that APIs take; there is none for reading of Cloud SQL only."""
_FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_DIRECTORY_VARIABLE = "CLOUDSDK_CONFIG"
_METADATA_VARIABLE = "GCE_METADATA_HOST"
_FILE = "application_default_credentials.json"
_ANSWER = "Answer"
"""The one schema, of all answers: a method without any is taken to give bytes."""
_UNAUTHORIZED = 401
_FIRST_ERROR = 400


class GcpSession:
    """Clients with the default credentials, whose tokens are renewed. For any thread.

    Raises what google-auth does.
    """

    def __init__(self, options: ProviderOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._documents: dict[str, Mapping[str, Any]] = {}
        request = _TokenRequest(httplib2.Http(timeout=options.timeout_seconds))
        self._tokens = _Tokens(partial(_credentials, options), request)
        self.project = self._tokens.project
        """That of the credentials; or nothing."""

    def client(self, api: str) -> Any:
        """Return a client, for one thread at a time."""
        with self._lock:
            if api not in self._documents:
                self._documents[api] = _lean_document(api)
            document = self._documents[api]
        endpoint = self._options.environment.get(_ENDPOINTS[api])
        return build_from_document(
            document,
            http=_AuthorizedHttp(self._tokens, self._options.timeout_seconds),
            client_options={"api_endpoint": endpoint} if endpoint else None,
        )


def _credentials(options: ProviderOptions, request: Request) -> tuple[Any, str]:
    """Return the default credentials and their project.

    Without a file google-auth asks the metadata service; outside of Google's cloud
    that must not be.
    """
    asks_metadata = options.here == GCP or _METADATA_VARIABLE in options.environment
    if not asks_metadata and not _has_file(options.environment):
        message = "there is no file of them"
        raise DefaultCredentialsError(message)  # type: ignore[no-untyped-call]
    try:
        credentials, project = google.auth.default(scopes=_SCOPES, request=request)
    finally:
        request.http.close()
    return credentials, project or ""


def _has_file(environment: Mapping[str, str]) -> bool:
    """Whether there is a file of credentials where google-auth looks for it."""
    if environment.get(_FILE_VARIABLE):
        return True
    directory = environment.get(_DIRECTORY_VARIABLE)
    if not directory:
        directory = f"{environment.get('HOME') or '/nonexistent'}/.config/gcloud"
    return (Path(directory) / _FILE).is_file()


class _Tokens:
    """The token of the credentials, renewed before it expires.

    A refusal makes it be renewed, too: a token may be revoked. Credentials that give
    none are read anew the next time: a key may be another one by then.
    """

    def __init__(
        self, load: Callable[[Request], tuple[Any, str]], request: Request
    ) -> None:
        self._load = load
        self._request = request
        self._lock = threading.Lock()
        self._refused = ""
        self._credentials, self.project = load(request)

    def sign(self, headers: dict[str, str]) -> str:
        """Add a token to headers, and return it."""
        with self._lock:
            if self._credentials is None:
                self._credentials, _ = self._load(self._request)
            credentials = self._credentials
            if not credentials.valid or credentials.token == self._refused:
                self._renew(credentials)
            credentials.apply(headers)
            return str(credentials.token)

    def _renew(self, credentials: Any) -> None:
        try:
            credentials.refresh(self._request)
        except RefreshError as error:
            if not error.retryable:
                self._credentials = None
            raise
        finally:
            self._request.http.close()

    def refuse(self, token: str) -> None:
        """Use a token no more."""
        with self._lock:
            self._refused = token


class _TokenRequest(Request):  # type: ignore[misc]  # it has no types
    """Makes google-auth's own requests; all have the timeout of their connection."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **more: Any,
    ) -> Any:
        del timeout  # httplib2 has none for one request, and a warning
        return super().__call__(url, method, body, headers, **more)


class _AuthorizedHttp:
    """What a client sends requests with; as httplib2 has it."""

    def __init__(self, tokens: _Tokens, timeout_seconds: float) -> None:
        self._tokens = tokens
        self._http = httplib2.Http(timeout=timeout_seconds)

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Any, bytes]:
        signed = dict(headers or {})
        token = self._tokens.sign(signed)
        response, content = self._http.request(uri, method, body, signed)
        if response.status == _UNAUTHORIZED:
            self._tokens.refuse(token)
        if response.status >= _FIRST_ERROR:
            raise Refused(response.status, response, content)
        return response, content

    def close(self) -> None:
        self._http.close()


def _lean_document(api: str) -> Mapping[str, Any]:
    """Return the description of what is called of an API."""
    whole = json.loads(get_static_doc(api, _VERSION))
    resources = {
        name: {"methods": {method: _lean_method(whole["resources"][name], method)}}
        for name, method in _METHODS[api].items()
    }
    kept = ("name", "version", "rootUrl", "servicePath", "parameters")
    return {
        **{key: whole[key] for key in kept},
        "resources": resources,
        "schemas": {_ANSWER: {"id": _ANSWER, "type": "object", "properties": {}}},
    }


def _lean_method(resource: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a method without what only describes it."""
    method = resource["methods"][name]
    parameters = method["parameters"]
    if name == "aggregatedList":
        parameters = _PARTIAL | parameters
    kept = ("id", "path", "httpMethod", "parameterOrder")
    return {
        **{key: method[key] for key in kept},
        "parameters": parameters,
        "response": {"$ref": _ANSWER},
    }
