"""Google Cloud for tests: its compute and Cloud SQL APIs, and tokens, on loopback.

What it has is checked against the schemas that Google publishes, and cut down to the
``fields`` that are asked for. Tokens are given for keys signed as Google wants it.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from googleapiclient.discovery_cache import get_static_doc

PROJECT = "shop-production"
ZONES = ("europe-west1-b", "us-central1-a", "us-central1-f")
REGIONS = ("europe-west1", "us-central1")
PERMISSIONS = frozenset(
    {
        "cloudsql.instances.list",
        "compute.addresses.list",
        "compute.forwardingRules.list",
        "compute.instanceGroupManagers.list",
        "compute.instances.list",
        "compute.routers.list",
    }
)
"""What all lists together need."""
_BASE = "https://www.googleapis.com/compute/v1"
_CLIENT = f"names@{PROJECT}.iam.gserviceaccount.com"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_PATH = re.compile(
    r"/compute/v1/projects/([^/]+)/aggregated/(\w+)|/v1/projects/([^/]+)/(instances)"
)
_SQL, _TOKEN = "sql", "token"
_SCHEMAS = {
    "addresses": ("compute", "Address"),
    "forwardingRules": ("compute", "ForwardingRule"),
    "instanceGroupManagers": ("compute", "InstanceGroupManager"),
    "instances": ("compute", "Instance"),
    "routers": ("compute", "Router"),
    _SQL: ("sqladmin", "DatabaseInstance"),
}
_ZONAL = frozenset({"instances", "instanceGroupManagers"})


@dataclass
class Fault:
    """What is answered instead, so many times."""

    status: int
    error: dict[str, Any]
    times: int = 1 << 30
    headers: dict[str, str] = field(default_factory=dict)


def fault(
    status: int,
    reason: str,
    message: str = "as the test wants it",
    times: int = 1 << 30,
    **headers: str,
) -> Fault:
    """Return an error as compute has it."""
    one = {"message": message, "domain": "global", "reason": reason}
    error = {"code": status, "message": message, "errors": [one]}
    return Fault(status, error, times, headers)


def rate_limited(times: int, **headers: str) -> Fault:
    """Return how compute says that there were too many calls."""
    message = (
        "Quota exceeded for quota metric 'List requests' and limit 'List requests per "
        "minute' of service 'compute.googleapis.com' for consumer "
        "'project_number:123456'."
    )
    found = fault(403, "rateLimitExceeded", message, times, **headers)
    found.error["errors"][0]["domain"] = "usageLimits"
    found.error["status"] = "PERMISSION_DENIED"
    return found


def not_enabled(api: str) -> Fault:
    """Return how an API says that a project has not enabled it."""
    message = f"{api} has not been used in project 123456 before or it is disabled."
    found = fault(403, "accessNotConfigured", message)
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "SERVICE_DISABLED",
        "domain": "googleapis.com",
        "metadata": {"consumer": "projects/123456", "service": api},
    }
    found.error |= {"status": "PERMISSION_DENIED", "details": [info]}
    return found


def _denied(permission: str, project: str) -> Fault:
    """Return how Google refuses what no role allows."""
    if permission.startswith("cloudsql."):
        message = "The client is not authorized to make this request."
        return fault(403, "notAuthorized", message)
    message = f"Required '{permission}' permission for 'projects/{project}'"
    return fault(403, "forbidden", message)


def _unauthenticated() -> Fault:
    message = (
        "Request had invalid authentication credentials. Expected OAuth 2 access "
        "token, login cookie or other valid authentication credential."
    )
    found = fault(401, "authError", message)
    found.error["status"] = "UNAUTHENTICATED"
    return found


class Project:
    """What a test puts into a project; items are as the API has them."""

    def __init__(self, project: str) -> None:
        self.id = project
        self.permissions = set(PERMISSIONS)
        self.silent: set[str] = set()
        """Zones and regions that do not answer."""
        self.items: dict[str, list[tuple[str, dict[str, Any]]]] = {
            collection: [] for collection in _SCHEMAS
        }
        self._number = 1000

    def add(self, collection: str, scope: str, name: str, **more: Any) -> Any:
        """Add something to a zone, a region, or ``global``."""
        self._number += 1
        item = {"name": name, **more}
        if collection != _SQL:
            created = "2026-01-02T03:04:05.000-07:00"
            item = {"id": f"77{self._number}", "creationTimestamp": created} | item
        _check(item, *_SCHEMAS[collection])
        self.items[collection].append((scope, item))
        return item

    def remove(self, collection: str, item: Mapping[str, Any]) -> None:
        self.items[collection] = [
            (scope, one) for scope, one in self.items[collection] if one is not item
        ]

    def network(self, name: str = "default") -> str:
        return f"{_BASE}/projects/{self.id}/global/networks/{name}"

    def path(self, region: str, kind: str, name: str) -> str:
        return f"{_BASE}/projects/{self.id}/regions/{region}/{kind}/{name}"

    def interface(self, address: str, public: str = "", **more: Any) -> Any:
        """Return an instance's first interface."""
        configs = [{"type": "ONE_TO_ONE_NAT", "natIP": public}] if public else []
        return {
            "name": "nic0",
            "network": self.network(),
            "subnetwork": self.path("us-central1", "subnetworks", "apps"),
            "networkIP": address,
            "accessConfigs": configs,
            **more,
        }

    def instance(
        self, name: str, address: str, public: str = "", zone: str = ZONES[1], **more
    ) -> Any:
        """Add an instance with one interface."""
        machine = f"{_BASE}/projects/{self.id}/zones/{zone}/machineTypes/e2-small"
        nics = [self.interface(address, public)]
        secret = {"items": [{"key": "startup-script", "value": "export PASSWORD=1"}]}
        facts = {"machineType": machine, "networkInterfaces": nics, "metadata": secret}
        return self.add("instances", zone, name, **{**facts, **more})

    def database(self, name: str, *addresses: tuple[str, str], **more: Any) -> Any:
        """Add an instance of Cloud SQL; addresses with their types."""
        mappings = [{"ipAddress": one, "type": kind} for one, kind in addresses]
        return self.add(_SQL, "", name, ipAddresses=mappings, **more)


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class GcpApi:
    """A server; ``url`` is where it is."""

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        self._projects: dict[str, Project] = {}
        self._faults: list[tuple[str, str, Fault]] = []
        self._calls: list[tuple[str, str]] = []
        self.urls: list[str] = []
        """What was asked for."""
        self._valid: set[str] = set()
        self.tokens = 0
        """How many have been given."""
        self.token_seconds = 3600
        self.endless = False
        """Whether each page leads to the same next one."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._key_file = directory / "key.json"
        self._key_file.write_text(json.dumps(self._key_info()))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End it; may be called twice."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a client that must not leave loopback."""
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(self._key_file),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{self.url}/compute/v1/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SQL": f"{self.url}/",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def project(self, project: str = PROJECT) -> Project:
        """Return a project, which is made where it is not there."""
        with self._lock:
            return self._projects.setdefault(project, Project(project))

    def fail(self, fault: Fault, collection: str = "", project: str = "") -> Fault:
        """Answer some calls with a fault, until ``mend``; ``token``: for a token."""
        with self._lock:
            self._faults.append((collection, project, fault))
        return fault

    def mend(self) -> None:
        with self._lock:
            self._faults.clear()

    def revoke_tokens(self) -> None:
        """Take no token any more that was given before."""
        with self._lock:
            self._valid.clear()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Answer nothing while a test changes several things that belong together."""
        with self._lock:
            yield

    def calls(self, project: str = "") -> Counter[str]:
        """Return how often each collection was asked for."""
        with self._lock:
            return Counter(name for one, name in self._calls if project in ("", one))

    def forget_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    def _key_info(self) -> dict[str, str]:
        pem = _key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "k1",
            "private_key": pem.decode(),
            "client_email": _CLIENT,
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }

    # What is answered

    def answer_token(self, body: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        form = dict(urllib.parse.parse_qsl(body))
        with self._lock:
            fault = self._find_fault(_TOKEN, "")
        if fault is not None:
            return fault.status, fault.error, fault.headers
        public = _key().public_key()
        pem = public.public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
        claims = jwt.decode(form["assertion"], certs=pem, clock_skew_in_seconds=5)
        if form["grant_type"] != _GRANT or claims["iss"] != _CLIENT:
            return 400, {"error": "invalid_grant"}, {}
        return 200, self._new_token(), {}

    def answer_metadata(self, url: str) -> str:
        """Answer as the metadata service does, which gives tokens to its machine."""
        path = urllib.parse.urlsplit(url).path.removeprefix("/computeMetadata/v1/")
        if path.endswith("/token"):
            return json.dumps(self._new_token())
        account = {"aliases": ["default"], "email": _CLIENT, "scopes": []}
        answers = {
            "/": "computeMetadata/",
            "project/project-id": PROJECT,
            "instance/service-accounts/default/": json.dumps(account),
            "universe/universe-domain": "googleapis.com",
        }
        return answers[path]

    def _new_token(self) -> dict[str, Any]:
        with self._lock:
            self.tokens += 1
            token = f"token-{self.tokens}"
            self._valid.add(token)
            kind = {"token_type": "Bearer", "expires_in": self.token_seconds}
            return {"access_token": token, **kind}

    def answer(
        self, url: str, authorization: str
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        parts = urllib.parse.urlsplit(url)
        match = _PATH.fullmatch(parts.path)
        assert match, url
        project_id = match[1] or match[3]
        collection = match[2] or _SQL
        query = dict(urllib.parse.parse_qsl(parts.query))
        with self._lock:
            self._calls.append((project_id, collection))
            self.urls.append(urllib.parse.unquote(url))
            fault = self._refusal(project_id, collection, authorization)
            if fault is not None:
                return fault.status, {"error": fault.error}, fault.headers
            page = _page(self._projects[project_id], collection, query)
            if self.endless:
                page["nextPageToken"] = "page-0"
        mask = query.get("fields")
        return 200, _cut(page, _parse_fields(mask)) if mask else page, {}

    def _refusal(
        self, project_id: str, collection: str, authorization: str
    ) -> Fault | None:
        found = self._find_fault(collection, project_id)
        if found is not None:
            return found
        if authorization.removeprefix("Bearer ") not in self._valid:
            return _unauthenticated()
        project = self._projects.get(project_id)
        if project is None:
            message = f"The resource 'projects/{project_id}' was not found"
            return fault(404, "notFound", message)
        api, name = ("cloudsql", "instances") if collection == _SQL else ("compute", "")
        permission = f"{api}.{name or collection}.list"
        if permission not in project.permissions:
            return _denied(permission, project_id)
        return None

    def _find_fault(self, collection: str, project: str) -> Fault | None:
        for of_collection, of_project, fault in self._faults:
            names = (collection,) if collection == _TOKEN else ("", collection)
            is_meant = of_collection in names and of_project in ("", project)
            if is_meant and fault.times > 0:
                fault.times -= 1
                return fault
        return None


def _page(
    project: Project, collection: str, query: Mapping[str, str]
) -> dict[str, Any]:
    """Return one page; the token says where it begins."""
    size = min(int(query.get("maxResults", 500)), 500)
    first = int(query.get("pageToken", "page-0").removeprefix("page-"))
    all_items = [
        one for one in project.items[collection] if one[0] not in project.silent
    ]
    items = all_items[first : first + size]
    has_more = first + size < len(all_items)
    more = {"nextPageToken": f"page-{first + size}"} if has_more else {}
    if collection == _SQL:
        return _sql_page(project, [item for _, item in items]) | more
    name = collection[0].upper() + collection[1:-1]
    page: dict[str, Any] = {"kind": f"compute#{name}AggregatedList", "id": "page"}
    page["items"] = {
        _scope_path(scope): _scoped(collection, scope, items)
        for scope in _scopes(collection)
        if scope not in project.silent
    }
    silent = [f"projects/{project.id}/{_scope_path(one)}" for one in project.silent]
    if silent:
        assert query.get("returnPartialSuccess") == "true"
        page["unreachables"] = sorted(silent)
    return page | more


def _sql_page(project: Project, items: list[dict[str, Any]]) -> dict[str, Any]:
    warnings = [
        {"code": "REGION_UNREACHABLE", "message": "no answer", "region": one}
        for one in sorted(project.silent)
    ]
    page: dict[str, Any] = {"kind": "sql#instancesList"}
    if items:
        page["items"] = items
    return page | ({"warnings": warnings} if warnings else {})


def _scopes(collection: str) -> tuple[str, ...]:
    if collection == "instances":
        return ZONES
    if collection == "instanceGroupManagers":
        return (*ZONES, *REGIONS)
    return ("global", *REGIONS)


def _scope_path(scope: str) -> str:
    if scope == "global":
        return scope
    return f"zones/{scope}" if scope in ZONES else f"regions/{scope}"


def _scoped(
    collection: str, scope: str, items: list[tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    found = [item for one, item in items if one == scope]
    if found:
        return {collection: found}
    path = _scope_path(scope)
    message = f"There are no results for scope '{path}' on this page."
    data = [{"key": "scope", "value": path}]
    warning = {"code": "NO_RESULTS_ON_PAGE", "message": message, "data": data}
    return {"warning": warning}


# Fields and schemas

Mask = dict[str, Any]


def _parse_fields(text: str) -> Mask:
    """Return a tree of names; an empty one: all there is."""
    tokens = re.findall(r"[\w*]+|[/(),]", text)
    assert "".join(tokens) == text
    mask, rest = _parse_list(tokens)
    assert not rest
    return mask


def _parse_list(tokens: list[str]) -> tuple[Mask, list[str]]:
    mask: Mask = {}
    while True:
        place = mask.setdefault(tokens[0], {})
        tokens = tokens[1:]
        while tokens and tokens[0] == "/":
            place = place.setdefault(tokens[1], {})
            tokens = tokens[2:]
        if tokens and tokens[0] == "(":
            found, tokens = _parse_list(tokens[1:])
            assert tokens[0] == ")"
            place |= found
            tokens = tokens[1:]
        if not tokens or tokens[0] != ",":
            return mask, tokens
        tokens = tokens[1:]


def _cut(value: Any, mask: Mask) -> Any:
    """Return what a mask leaves of a value; objects that lose all vanish."""
    if not mask:
        return value
    if isinstance(value, list):
        return [_cut(one, mask) for one in value]
    kept = {}
    for name, one in value.items():
        below = mask.get(name, mask.get("*"))
        if below is not None:
            found = _cut(one, below)
            if found not in ({}, []) or one in ({}, []):
                kept[name] = found
    return kept


@cache
def _schemas(api: str) -> Any:
    return json.loads(get_static_doc(api, "v1"))["schemas"]


def _check(value: Any, api: str, schema: str) -> None:
    """Fail if the published schema does not have it so."""
    _check_shape(value, _schemas(api)[schema], api)


def _check_shape(value: Any, shape: Mapping[str, Any], api: str) -> None:
    if "$ref" in shape:
        shape = _schemas(api)[shape["$ref"]]
    kind = shape["type"]
    if kind == "object":
        known = shape.get("properties", {})
        others = shape.get("additionalProperties")
        for name, one in value.items():
            assert name in known or others, name
            _check_shape(one, known.get(name, others), api)
    elif kind == "array":
        for one in value:
            _check_shape(one, shape["items"], api)
    else:
        types = {"string": str, "integer": int, "boolean": bool, "number": float}
        assert isinstance(value, types[kind]), (value, kind)
        assert value in shape.get("enum", [value]), value


def _handler(api: GcpApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if not self.path.startswith(("/compute/", "/v1/")):
                self._send_metadata(api.answer_metadata(self.path))
                return
            authorization = self.headers.get("Authorization", "")
            self._send(*api.answer(self.path, authorization))

        def do_POST(self) -> None:
            assert self.path == "/token"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(*api.answer_token(body.decode()))

        def _send_metadata(self, text: str) -> None:
            body = text.encode()
            is_json = text.startswith("{")
            self.send_response(200)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Length", str(len(body)))
            kind = "application/json" if is_json else "application/text"
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def _send(
            self, status: int, answer: dict[str, Any], headers: dict[str, str]
        ) -> None:
            body = gzip.compress(json.dumps(answer).encode(), 1)
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def gcp_api(directory: Path) -> Iterator[GcpApi]:
    """Run an API with one project that has nothing; its key file is in a directory."""
    api = GcpApi(directory)
    api.project()
    try:
        yield api
    finally:
        api.close()
