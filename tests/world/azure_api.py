"""Azure for tests: the Resource Manager's API and its tokens, over TLS on loopback.

Answers have the shapes of the published REST API. Pages, permissions, throttling, and
how long tokens hold are what a test says. What there is is in ``azure_resources``.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.world.certificates import make_certificate

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT, SECRET = "11111111-2222-3333-4444-555555555555", "secret"

Item = dict[str, Any]

_API_VERSIONS = {
    "microsoft.compute": {"2024-07-01"},
    "microsoft.network": {"2024-05-01"},
    "microsoft.resources": {"2022-12-01"},
}
_OF_SCALE_SETS = ("networkinterfaces", "publicipaddresses")
_SCALE_SET_NETWORK_VERSION = "2018-10-01"
_SKIP = "$skipToken"


@dataclass(frozen=True)
class Call:
    """One request with what it needs, such as Microsoft.Network/natGateways/read."""

    action: str
    subscription: str
    path: str


@dataclass
class Fault:
    """What is answered instead, so many times; ``where`` is part of the path."""

    status: int
    code: str = "InternalServerError"
    message: str = "as the test wants it"
    times: int = 1 << 30
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    action: str = ""
    subscription: str = ""
    where: str = ""

    def matches(self, call: Call) -> bool:
        return (
            self.times > 0
            and self.action.lower() in ("", call.action.lower())
            and self.subscription in ("", call.subscription)
            and self.where.lower() in call.path.lower()
        )


class AzureWorld:
    """A server; ``url`` is the Resource Manager and gives tokens, too."""

    def __init__(self, directory: Path) -> None:
        self.page_size = 100
        self.token_seconds = 3600
        self.granted: set[str] | None = None
        """Actions that the client may take, in lower case; None: all of them."""
        self.listings: dict[str, list[Item]] = {"/subscriptions": []}
        """Items by path in lower case."""
        self.tokens_given = 0
        self.renewals_refused = False
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}
        self._faults: list[Fault] = []
        self._calls: list[Call] = []
        self.strangers: list[str] = []
        """Paths that nobody who talks to Azure asks for."""
        self._certificate = make_certificate(directory, "azure")
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.world = self
        self._server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.tls.load_cert_chain(
            self._certificate.certificate, self._certificate.key
        )
        self.url = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a client that must not leave loopback."""
        return {
            "AZURE_AUTHORITY_HOST": self.url,
            "AZURE_RESOURCE_MANAGER_ENDPOINT": self.url,
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_CLIENT_SECRET": SECRET,
            "REQUESTS_CA_BUNDLE": str(self._certificate.certificate),
        }

    # What is answered

    def fail(self, fault: Fault) -> Fault:
        """Answer some calls with a fault, until ``mend``."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def deny(self, action: str = "", subscription: str = "") -> Fault:
        """Refuse an action, as Azure refuses what no role allows."""
        return self.fail(
            Fault(
                403, "AuthorizationFailed", "", action=action, subscription=subscription
            )
        )

    def mend(self) -> None:
        with self._lock:
            self._faults.clear()

    def expire_tokens(self) -> None:
        """Take none of the tokens given until now, whatever they say."""
        with self._lock:
            self._tokens = dict.fromkeys(self._tokens, 0.0)

    def calls(self, *actions: str) -> Counter[str]:
        """Return how often each action was taken; ``actions`` are the last words."""
        with self._lock:
            found = Counter(call.action for call in self._calls)
        return Counter({k: n for k, n in found.items() if not actions or k in actions})

    def forget_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    # The server's threads

    def give_token(self, form: dict[str, list[str]]) -> tuple[int, Item]:
        """Answer a request by a client's secret."""
        if (form.get("client_id"), form.get("client_secret")) != ([CLIENT], [SECRET]):
            return 401, {
                "error": "invalid_client",
                "error_description": "AADSTS7000215: Invalid client secret provided.",
                "error_codes": [7000215],
            }
        token = uuid.uuid4().hex
        with self._lock:
            self.tokens_given += 1
            self._tokens[token] = time.time() + self.token_seconds
        return 200, {
            "token_type": "Bearer",
            "expires_in": self.token_seconds,
            "ext_expires_in": self.token_seconds,
            "access_token": token,
        }

    def discover(self) -> Item:
        """Return what leads to tokens."""
        place = f"{self.url}/{TENANT}"
        return {
            "issuer": f"{place}/v2.0",
            "authorization_endpoint": f"{place}/oauth2/v2.0/authorize",
            "token_endpoint": f"{place}/oauth2/v2.0/token",
            "jwks_uri": f"{place}/discovery/v2.0/keys",
        }

    def answer(
        self, path: str, query: dict[str, str], token: str
    ) -> tuple[int, Item | str, dict[str, str]]:
        """Answer a request to the Resource Manager."""
        call = read_call(path)
        with self._lock:
            self._calls.append(call)
            fault = next((one for one in self._faults if one.matches(call)), None)
            if fault is not None:
                fault.times -= 1
            valid_until = self._tokens.get(token, 0.0)
        if valid_until <= time.time():
            return _expired()
        if fault is not None and fault.body is not None:
            return fault.status, fault.body, fault.headers
        if fault is not None:
            message = _refusal(call) if fault.status == 403 else fault.message
            return fault.status, _error(fault.code, message), fault.headers
        if self.granted is not None and call.action.lower() not in self.granted:
            return 403, _error("AuthorizationFailed", _refusal(call)), {}
        return *self._find(call, query), {}

    def _find(self, call: Call, query: dict[str, str]) -> tuple[int, Item | str]:
        version = query.get("api-version", "")
        if version not in _versions(call):
            message = f"The api-version '{version}' is invalid."
            return 400, _error("InvalidApiVersionParameter", message)
        path = call.path.lower()
        with self._lock:
            single = self._single(path)
            if single is not None:
                return 200, json.dumps(single)
            if not self._is_listing(path):
                name = call.path.rpartition("/")[2]
                message = f"The Resource '{name}' was not found."
                return 404, _error("ResourceNotFound", message)
            return 200, self._page(path, call.path, query)

    def _single(self, path: str) -> Item | None:
        if "/resourcegroups/" not in path:
            return None
        of_type = re.sub(r"/resourcegroups/[^/]+", "", path).rpartition("/")[0]
        items = self.listings.get(of_type, ())
        return next((one for one in items if one["id"].lower() == path), None)

    def _is_listing(self, path: str) -> bool:
        if "/resourcegroups/" in path:
            return self._single(path.rpartition("/")[0]) is not None
        subscription = path.split("/")[2:3]
        known = [one["subscriptionId"] for one in self.listings["/subscriptions"]]
        return not subscription or subscription[0] in known

    def _page(self, path: str, as_asked: str, query: dict[str, str]) -> str:
        items = self.listings.get(path, [])
        first = int(query.get(_SKIP, 0))
        end = first + self.page_size
        page: Item = {"value": items[first:end]}
        if end < len(items):
            more = urlencode({"api-version": query["api-version"], _SKIP: end})
            page["nextLink"] = f"{self.url}{as_asked}?{more}"
        return json.dumps(page)


def read_call(path: str) -> Call:
    """Return what a request needs."""
    parts = path.strip("/").split("/")
    subscription = parts[1].lower() if len(parts) > 1 else ""
    if "providers" in parts:
        namespace, *rest = parts[parts.index("providers") + 1 :]
        kinds = rest[::2]
    else:
        namespace, kinds = "Microsoft.Resources", parts[::2]
    if len(parts) == 3 and parts[2] == "locations":
        kinds = ["subscriptions", "locations"]
    return Call("/".join([namespace, *kinds, "read"]), subscription, path)


def _versions(call: Call) -> set[str]:
    namespace, *_, last, _read = call.action.lower().split("/")
    if namespace == "microsoft.compute" and last in _OF_SCALE_SETS:
        return {_SCALE_SET_NETWORK_VERSION}
    return _API_VERSIONS.get(namespace, set())


def _error(code: str, message: str) -> Item:
    return {"error": {"code": code, "message": message}}


def _refusal(call: Call) -> str:
    scope = call.path.partition("/providers/")[0]
    return (
        f"The client '{CLIENT}' with object id 'abc' does not have authorization to "
        f"perform action '{call.action}' over scope '{scope}' or the scope is invalid. "
        "If access was recently granted, please refresh your credentials."
    )


def _expired() -> tuple[int, Item, dict[str, str]]:
    message = (
        "The access token expiry UTC time '11/24/2026 1:00:00 AM' is earlier than "
        "current UTC time '11/24/2026 1:00:01 AM'."
    )
    challenge = (
        'Bearer authorization_uri="https://login.windows.net/", '
        f'error="invalid_token", error_description="{message}"'
    )
    headers = {"WWW-Authenticate": challenge}
    return 401, _error("ExpiredAuthenticationToken", message), headers


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    world: AzureWorld
    tls: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.tls.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        world = self.server.world
        parts = urlsplit(self.path)
        if parts.path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            self._answer(200, world.discover(), {})
        elif parts.path.startswith("/subscriptions"):
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            self._answer(*world.answer(parts.path, query, token))
        else:
            self._refuse()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == f"/{TENANT}/oauth2/v2.0/token":
            self._answer(*self.server.world.give_token(parse_qs(body)), {})
        else:
            self._refuse()

    def _refuse(self) -> None:
        self.server.world.strangers.append(self.path)
        self._answer(404, _error("NotFound", self.path), {})

    def _answer(self, status: int, answer: Item | str, headers: dict[str, str]) -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def azure_world(directory: Path) -> Iterator[AzureWorld]:
    """Run a world with nothing in it."""
    world = AzureWorld(directory)
    try:
        yield world
    finally:
        world.close()
