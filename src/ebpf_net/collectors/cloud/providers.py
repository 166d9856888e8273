"""What the poller asks of a provider, and how a provider says that it cannot.

A provider's module maps what its SDK raises to these; the poller knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from ebpf_net.collectors.cloud.records import Interface
from ebpf_net.collectors.object_labels import AllowList

Answer = TypeVar("Answer")
_MAX_REASON = 600


@dataclass(frozen=True)
class ProviderOptions:
    """What ``make_providers(options) -> Sequence[Provider]`` of each cloud is given.

    That function opens no connection. It raises SettingError for what cannot be.
    """

    scopes: tuple[str, ...] = ()
    """Roles (AWS), projects (GCP) or subscriptions (Azure); none: the default ones."""
    tags: AllowList = field(default_factory=AllowList)
    timeout_seconds: float = 10.0
    """For each API call."""
    environment: Mapping[str, str] = field(default_factory=dict)
    here: str = ""
    """Provider whose machine this is; only its metadata service may be asked."""


class PartKey(NamedTuple):
    """What one poll covers. ``region`` is blank where one listing has all of them."""

    provider: str
    """``aws``, ``gcp`` or ``azure``."""
    account: str
    """Account, project or subscription."""
    region: str = ""

    def __str__(self) -> str:
        return "/".join(text for text in self if text)


class PartFailed(Exception):
    """A listing cannot be had now; what was known of its part stays known."""

    def __init__(
        self,
        reason: str,
        missing_permission: str = "",
        retry_after_seconds: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        """One line, lower case."""
        self.missing_permission = missing_permission
        """As the provider names it, such as ``ec2:DescribeInstances``; or nothing."""
        self.retry_after_seconds = retry_after_seconds
        """When it may be asked again at the earliest; 0: nobody says."""


class CallFailed(Exception):
    """One call failed in a way that another try may mend."""

    def __init__(
        self, reason: str, *, throttled: bool = False, retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.throttled = throttled
        """There were too many calls: the rate of calls is lowered, too."""
        self.retry_after_seconds = retry_after_seconds
        """What the provider asks for; 0: it does not say."""


def one_line(error: object) -> str:
    """Return what an error says as a reason: one line of some length."""
    text = " ".join(str(error).split())
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}..."


class Budget(Protocol):
    """How fast and how often a part may call its API."""

    def call(self, operation: str, request: Callable[[], Answer]) -> Answer:
        """Make one API call, such as one page; the operation's name is for people.

        Counted and paced. A request that raises CallFailed is made again, later and
        more slowly, a bounded number of times; then PartFailed is raised, as it is
        when the collector ends. A request must not try again by itself.
        """
        ...

    def do_without(self, failure: PartFailed) -> None:
        """Say that some detail, such as names of instances, cannot be had now.

        The fetch goes on and yields what it can; what is missing is logged once.
        """
        ...


class Part(Protocol):
    """One account's region, project or subscription. Polled by one thread at a time.

    Making one costs nothing: it is made anew by each ``Provider.parts``, and those
    whose key is known already are dropped.
    """

    @property
    def key(self) -> PartKey:
        """What tells it from all others."""
        ...

    @property
    def account_name(self) -> str:
        """What people call the account; blank where nobody says."""
        ...

    def fetch(self, budget: Budget) -> Iterator[Interface]:
        """Yield all interfaces, page by page, each once.

        Whatever is not yielded by a run that ends well has gone. Raises PartFailed.
        """
        ...


class Provider(Protocol):
    """What one set of credentials reaches; there may be several of one cloud."""

    @property
    def name(self) -> str:
        """Tells it from all others, in logs: ``aws``, or with a role's name."""
        ...

    def parts(self, budget: Budget) -> Iterable[Part]:
        """Return all parts there are now. Raises PartFailed."""
        ...
