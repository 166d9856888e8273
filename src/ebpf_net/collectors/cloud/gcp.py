"""Google Cloud: the projects that the default credentials reach."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from ebpf_net.collectors.cloud.at_hand import GCP
from ebpf_net.collectors.cloud.gcp_errors import ask
from ebpf_net.collectors.cloud.gcp_listing import Lister
from ebpf_net.collectors.cloud.gcp_parts import (
    GcpAddresses,
    GcpDatabases,
    GcpForwardingRules,
    GcpInstances,
)
from ebpf_net.collectors.cloud.gcp_session import GcpSession
from ebpf_net.collectors.cloud.providers import (
    Budget,
    Part,
    PartFailed,
    PartKey,
    Provider,
    ProviderOptions,
)
from ebpf_net.collectors.object_labels import AllowList
from ebpf_net.errors import SettingError

_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_PARTS: Mapping[str, Callable[[PartKey, Lister, AllowList], Part]] = {
    "instances": GcpInstances,
    "forwarding-rules": GcpForwardingRules,
    "addresses": GcpAddresses,
    "databases": GcpDatabases,
}


def make_providers(options: ProviderOptions) -> Sequence[Provider]:
    """Return one provider for all projects; none: the one of the credentials."""
    for project in options.scopes:
        if not _PROJECT.fullmatch(project):
            raise SettingError(
                f"--gcp-project is '{project}', expected a project's id such as "
                "shop-production"
            )
    return [GcpProjects(options)]


class GcpProjects:
    """The parts of all projects; a Provider."""

    name = GCP

    def __init__(self, options: ProviderOptions) -> None:
        self._options = options
        self._session: GcpSession | None = None

    def parts(self, budget: Budget) -> Iterator[Part]:
        """Return the parts of each project; see Provider."""
        session = self._connect(budget)
        projects = self._options.scopes or (session.project,)
        if not all(projects):
            raise PartFailed("the credentials name no project, see --gcp-project")
        for project in dict.fromkeys(projects):
            for kind, make in _PARTS.items():
                # Each has connections of its own: parts are polled at the same time.
                key = PartKey(GCP, project, kind)
                yield make(key, Lister(session, project), self._options.tags)

    def _connect(self, budget: Budget) -> GcpSession:
        """Look for credentials; the metadata service may be asked for some."""
        if self._session is None:
            self._session = budget.call(
                "credentials", lambda: ask("", lambda: GcpSession(self._options))
            )
        return self._session
