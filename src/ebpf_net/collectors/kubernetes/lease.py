"""Which of several replicas tells: the one that holds a Lease.

As client-go does it: another's Lease is over when it was not seen renewed for its
duration, by this process's own clock. A holder that cannot reach the API server goes
on, as old names are better than none, until it sees another holder. A right that is
missing for good makes every replica lead; one that is missing for a moment, as while an
API server starts, changes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

import msgspec

from ebpf_net.collectors.clock import Clock
from ebpf_net.collectors.kubernetes.api import ApiError, ApiServer

_SECOND_NS = 1_000_000_000
_REFUSED = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseOptions:
    """Which Lease, who asks for it, and how long it is good."""

    namespace: str
    identity: str
    name: str = "ebpf-net-k8s-collector"
    duration_seconds: float = 15.0
    refusal_seconds: float = 60.0  # a refusal that lasts as long is meant


class _Metadata(msgspec.Struct, rename="camel", omit_defaults=True):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct, rename="camel"):
    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


class Election:
    """``run`` occupies a thread until ``stop``, which gives the Lease back."""

    def __init__(
        self,
        api: ApiServer,
        options: LeaseOptions,
        clock: Clock,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._api = api
        self._options = options
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._sure_until_ns = 0  # this one leads until then
        self._seen: tuple[object, ...] = ()
        self._seen_ns = 0
        self._is_confirmed = False  # by the last answer of the server
        self._refused_ns: int | None = None  # since when every answer is a refusal
        self._is_free = False  # without the right there is no election
        self._transitions = 0

    def leads(self) -> bool:
        """Whether this replica tells."""
        with self._lock:
            return self._is_free or self._clock.monotonic_ns() < self._sure_until_ns

    def is_confirmed(self) -> bool:
        """Whether it leads by the last answer, not for want of one."""
        with self._lock:
            return self._is_confirmed

    def run(self) -> None:
        """Try to get and to keep the Lease until ``stop``."""
        while not self._stopped.is_set():
            led = self.leads()
            try:
                self._try()
            except ApiError as error:
                self._handle(error)
            except msgspec.DecodeError as error:
                logger.warning("the lease cannot be read: %s", error)
            except Exception:
                logger.exception("the election goes on after a fault")
            leads = self.leads()
            if leads != led:
                self._transitions += 1
                logger.info("this replica %s", "leads" if leads else "stands by")
                self._changed()
            self._stopped.wait(self._pause(leads))

    def stop(self) -> None:
        """Ask ``run`` to end."""
        self._stopped.set()

    def release(self) -> None:
        """Let another one lead at once; after ``run`` has ended."""
        if self._is_free or not self.leads():
            return
        try:
            lease = self._get()
            if lease is not None and lease.spec.holder_identity == self._identity:
                spec = _Spec("", 1, lease.spec.acquire_time, _now(), lease.spec.lease_transitions)  # noqa: E501  # fmt: skip
                self._put(lease.metadata, spec)
        except (ApiError, msgspec.DecodeError) as error:
            logger.debug("the lease was not given back: %s", error)
        with self._lock:
            self._sure_until_ns = 0

    def status(self) -> dict[str, int]:
        """Return whether it leads, and how often that changed."""
        return {
            "kubernetes.leads": int(self.leads()),
            "kubernetes.lease_transitions": self._transitions,
            "signal.kubernetes_lease." + ("no_right" if self._is_free else "held"): int(
                not self._is_free
            ),
        }

    @property
    def _identity(self) -> str:
        return self._options.identity

    def _pause(self, leads: bool) -> float:
        duration = self._options.duration_seconds
        if self._is_free:
            return self._options.refusal_seconds
        return duration / 5 if leads else self._poll_seconds

    @property
    def _poll_seconds(self) -> float:
        return self._options.duration_seconds / 15

    @property
    def _request_seconds(self) -> float:
        """To look and to renew takes two requests, within the duration."""
        return self._options.duration_seconds / 3

    def _try(self) -> None:
        """Create, renew, take over or only look at the Lease."""
        began_ns = self._clock.monotonic_ns()
        lease = self._get()
        if lease is None:
            options = self._options
            self._create(_Metadata(options.name, options.namespace))
        elif lease.spec.holder_identity == self._identity:
            acquired = lease.spec.acquire_time or _now()
            transitions = lease.spec.lease_transitions or 0
            self._put(lease.metadata, self._spec(acquired, transitions))
        elif self._is_over(lease):
            transitions = (lease.spec.lease_transitions or 0) + 1
            self._put(lease.metadata, self._spec(_now(), transitions))
        else:
            self._step_down()
            return
        with self._lock:
            self._note_right()
            self._is_confirmed = True
            duration_ns = int(self._options.duration_seconds * _SECOND_NS)
            self._sure_until_ns = began_ns + duration_ns

    def _is_over(self, lease: _Lease) -> bool:
        spec = lease.spec
        if not spec.holder_identity:
            return True
        seen = (spec.holder_identity, spec.renew_time, lease.metadata.resource_version)
        now_ns = self._clock.monotonic_ns()
        if seen != self._seen:
            self._seen, self._seen_ns = seen, now_ns
        seconds = spec.lease_duration_seconds or self._options.duration_seconds
        # It was renewed before it was seen: by one look at most.
        return now_ns - self._seen_ns >= (seconds - self._poll_seconds) * _SECOND_NS

    def _step_down(self) -> None:
        with self._lock:
            self._note_right()
            self._is_confirmed = False
            self._sure_until_ns = 0

    def _note_right(self) -> None:
        self._is_free = False
        self._refused_ns = None

    def _handle(self, error: ApiError) -> None:
        if error.status == HTTPStatus.CONFLICT:
            return  # another one was faster; the next look tells who
        if error.status not in _REFUSED:
            logger.debug("the lease is out of reach: %s", error)
            self._refused_ns = None
        elif self._is_free or self._lasts():
            self._lead_freely(error)
            return
        self._go_on()

    def _lasts(self) -> bool:
        """Note a refusal; return whether there was nothing else for long."""
        now_ns = self._clock.monotonic_ns()
        if self._refused_ns is None:
            self._refused_ns = now_ns
        return now_ns - self._refused_ns >= self._options.refusal_seconds * _SECOND_NS

    def _lead_freely(self, error: ApiError) -> None:
        if not self._is_free:
            logger.warning(
                "not allowed to get, create and update leases.coordination.k8s.io "
                "in %s: this replica leads whatever others do (%s)",
                self._options.namespace,
                error,
            )
        with self._lock:
            self._is_free = self._is_confirmed = True

    def _go_on(self) -> None:
        """Lead further, if it does, as no other holder was seen."""
        now_ns = self._clock.monotonic_ns()
        with self._lock:
            self._is_confirmed = False
            if now_ns < self._sure_until_ns:
                duration_ns = int(self._options.duration_seconds * _SECOND_NS)
                self._sure_until_ns = now_ns + duration_ns

    def _spec(self, acquired: str, transitions: int) -> _Spec:
        seconds = max(1, int(self._options.duration_seconds))
        return _Spec(self._identity, seconds, acquired, _now(), transitions)

    def _get(self) -> _Lease | None:
        try:
            path = f"{self._path}/{self._options.name}"
            body = self._api.get(path, seconds=self._request_seconds)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return msgspec.json.decode(body, type=_Lease)

    def _create(self, metadata: _Metadata) -> None:
        lease = _Lease(metadata, self._spec(_now(), 0))
        body = msgspec.json.encode(lease)
        self._api.send("POST", self._path, body, self._request_seconds)

    def _put(self, metadata: _Metadata, spec: _Spec) -> None:
        body = msgspec.json.encode(_Lease(metadata, spec))
        path = f"{self._path}/{self._options.name}"
        self._api.send("PUT", path, body, self._request_seconds)

    @property
    def _path(self) -> str:
        namespace = self._options.namespace
        return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
