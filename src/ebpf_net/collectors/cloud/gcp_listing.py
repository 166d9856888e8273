"""Lists of Google Cloud's APIs, read page by page to their ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ebpf_net.collectors.cloud.gcp_errors import ask
from ebpf_net.collectors.cloud.gcp_names import last_of
from ebpf_net.collectors.cloud.gcp_session import COMPUTE, SQL, GcpSession
from ebpf_net.collectors.cloud.providers import Budget, CallFailed, PartFailed

Item = Mapping[str, Any]
PAGE_ITEMS = 500
"""As many as the APIs give at once."""
_UNREACHABLE = frozenset({"UNREACHABLE", "REGION_UNREACHABLE", "PARTIAL_SUCCESS"})
_MAX_NAMED = 5


class Listing(NamedTuple):
    """A list of all scopes of a project: zones, regions, and what is global."""

    collection: str
    """As the API calls it: ``instances``."""
    fields: str
    """What is asked for of each item."""


class Lister:
    """The lists of one project. For one thread at a time."""

    def __init__(self, session: GcpSession, project: str) -> None:
        self._session = session
        self._project = project
        self._clients: dict[str, Any] = {}

    def scoped_items(
        self, budget: Budget, listing: Listing
    ) -> Iterator[tuple[str, Item]]:
        """Yield the name of a zone or region, or global, and an item that is there.

        Raises PartFailed at the end, if some zone or region did not answer.
        """
        name, fields = listing
        request = {
            "fields": f"items/*/{name}({fields}),items/*/warning/code,"
            "nextPageToken,unreachables,warning/code",
            "returnPartialSuccess": True,
        }
        silent: set[str] = set()
        call = _Call(COMPUTE, name, "aggregatedList", f"compute.{name}.list")
        for page in self._pages(budget, call, request):
            silent.update(map(last_of, page.get("unreachables", ())))
            if _is_unreachable(page) and not silent:
                silent.add("some")
            for scope, scoped in page.get("items", {}).items():
                if _is_unreachable(scoped):
                    silent.add(last_of(scope))
                for item in scoped.get(name, ()):
                    yield last_of(scope), item
        _check_all_answered(call.operation, silent)

    def databases(self, budget: Budget, fields: str) -> Iterator[Item]:
        """Yield the instances of Cloud SQL; raises PartFailed as the other does."""
        call = _Call(SQL, "instances", "list", "cloudsql.instances.list")
        request = {
            "fields": f"items({fields}),nextPageToken,warnings(code,region)",
        }
        silent: set[str] = set()
        for page in self._pages(budget, call, request):
            warnings = page.get("warnings", ())
            silent.update(
                one.get("region", "some")
                for one in warnings
                if one.get("code") in _UNREACHABLE
            )
            yield from page.get("items", ())
        _check_all_answered(call.operation, silent)

    def _pages(
        self, budget: Budget, call: _Call, request: Mapping[str, Any]
    ) -> Iterator[Item]:
        """Yield all pages, without keeping one; nor the connection, until later."""
        token = ""
        try:
            while True:
                more = {"pageToken": token} if token else {}
                page = self._call(budget, call, {**request, **more})
                yield page
                last, token = token, page.get("nextPageToken") or ""
                if not token:
                    return
                if token == last:
                    raise PartFailed(f"{call.operation}: the same page over and over")
        finally:
            if call.api in self._clients:
                self._clients[call.api].close()

    def _call(self, budget: Budget, call: _Call, request: Mapping[str, Any]) -> Item:
        def send() -> Item:
            resource = getattr(self._client(call.api), call.collection)()
            method = getattr(resource, call.method)
            answer = method(
                project=self._project, maxResults=PAGE_ITEMS, **request
            ).execute()
            if not isinstance(answer, dict):
                raise CallFailed("it is no object")
            return answer

        return budget.call(call.operation, lambda: ask(call.permission, send))

    def _client(self, api: str) -> Any:
        if api not in self._clients:
            self._clients[api] = self._session.client(api)
        return self._clients[api]


class _Call(NamedTuple):
    api: str
    collection: str
    method: str
    permission: str

    @property
    def operation(self) -> str:
        """What people find in the documentation."""
        return f"{self.api}.{self.collection}.{self.method}"


def _is_unreachable(answer: Item) -> bool:
    return answer.get("warning", {}).get("code") in _UNREACHABLE


def _check_all_answered(operation: str, silent: set[str]) -> None:
    """Keep what is known of the zones and regions that did not answer."""
    if silent:
        raise PartFailed(f"{operation}: no answer of {_enumerate(sorted(silent))}")


def _enumerate(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    text = ", ".join(names[:_MAX_NAMED])
    return f"{text} and {more} more" if more > 0 else text
