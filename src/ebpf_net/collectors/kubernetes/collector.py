"""The collector: what reflectors keep up with is told while this replica leads.

The others keep what they know up to date, so that a new leader has a snapshot to begin
with.

Two may lead at once for a while, and neither knows. Whoever leads therefore tells all
rows anew within fewer windows than the reducer keeps those that another one displaced.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ebpf_net.collectors.clock import Clock
from ebpf_net.collectors.kubernetes.api import ApiServer
from ebpf_net.collectors.kubernetes.cluster import Cluster, ClusterOptions
from ebpf_net.collectors.kubernetes.identity import wait_for_cluster_uid
from ebpf_net.collectors.kubernetes.lease import Election, LeaseOptions
from ebpf_net.collectors.kubernetes.reflector import Pace, Reflector
from ebpf_net.collectors.kubernetes.resources import RESOURCES
from ebpf_net.collectors.pauses import Pauses
from ebpf_net.collectors.reference_windows import (
    LONGEST_PAUSE_SECONDS,
    Connect,
    ReferenceWindows,
    WindowOptions,
)
from ebpf_net.collectors.row_table import Table

_LIST_SECONDS = 30.0
"""Waited for all resources to be listed; then what there is is told."""
_OWNER_SECONDS = 0.3
"""Waited at a window's end for owners of new pods."""
RESTATED_WINDOWS = 3
"""All rows are told anew with each third window; the reducer keeps them for six."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CollectorOptions:
    """What is told of the cluster, and how."""

    host: str
    cluster_name: str = ""
    interval_seconds: float = 10.0
    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    delete_ttl_seconds: float = 60.0
    delete_capacity: int = 10_000
    lease: LeaseOptions | None = None  # None: there is one replica only
    pace: Pace = field(default_factory=Pace)


class KubernetesCollector:
    """``run`` occupies its thread until ``stop``, which any thread may call."""

    def __init__(
        self, api: ApiServer, options: CollectorOptions, clock: Clock, connect: Connect
    ) -> None:
        self._api = api
        self._options = options
        self._clock = clock
        self._connect = connect
        self._pauses = Pauses()
        self._reflectors: list[Reflector] = []
        self._election: Election | None = None

    def run(self) -> None:
        """Keep up with the cluster, and tell of it while leading, until ``stop``."""
        options, stopped = self._options, self._pauses.stopped
        uid = wait_for_cluster_uid(self._api, stopped, options.pace.refusal_seconds)
        if uid is None:
            return
        self._cluster = Cluster(
            ClusterOptions(
                uid,
                options.cluster_name,
                options.labels,
                options.annotations,
                options.delete_ttl_seconds,
                options.delete_capacity,
            ),
            self._clock,
        )
        self._windows = ReferenceWindows(
            _ClusterRows(self._cluster, self._wait_owners, self._is_confirmed),
            WindowOptions(options.host, options.interval_seconds, RESTATED_WINDOWS),
            self._clock,
            self._connect,
            self.status,
        )
        threads = self._start_threads()
        try:
            self._wait_listed()
            while not stopped.is_set():
                if self._leads():
                    logger.info("telling of cluster %s", uid)
                    self._windows.tell(f"kubernetes-{uid}", self._pauses, self._leads)
                else:
                    self._pauses.pause(LONGEST_PAUSE_SECONDS)
        finally:
            self._end(threads)

    def stop(self) -> None:
        """Ask ``run`` to end; returns at once."""
        self._pauses.stop()

    def status(self) -> dict[str, int]:
        """Return counters since the start."""
        status = self._api.status() | self._cluster.status()
        for reflector in self._reflectors:
            status |= reflector.status()
        if self._election is not None:
            status |= self._election.status()
        return status | self._windows.sender_status()

    def _wait_owners(self) -> None:
        """Wait a little for owners whose event is behind that of their pods."""
        watched = [one for one in self._reflectors if one.resource.metadata_only]
        if any(one.lacks_right for one in watched):
            return
        deadline = time.monotonic() + _OWNER_SECONDS
        while self._cluster.unresolved() and time.monotonic() < deadline:
            self._pauses.pause(0.02)

    def _leads(self) -> bool:
        return self._election is None or self._election.leads()

    def _is_confirmed(self) -> bool:
        return self._election is None or self._election.is_confirmed()

    # Beginning and end

    def _start_threads(self) -> list[threading.Thread]:
        options = self._options
        wake = self._pauses.wake
        self._reflectors = [
            Reflector(self._api, resource, self._cluster, options.pace, wake)
            for resource in RESOURCES
        ]
        runs = [(one.run, one.resource.name) for one in self._reflectors]
        if options.lease is not None:
            self._election = Election(self._api, options.lease, self._clock, wake)
            runs.append((self._election.run, "lease"))
        threads = [
            threading.Thread(target=run, name=name, daemon=True) for run, name in runs
        ]
        for thread in threads:
            thread.start()
        return threads

    def _wait_listed(self) -> None:
        deadline = time.monotonic() + _LIST_SECONDS
        while not self._pauses.stopped.is_set() and time.monotonic() < deadline:
            if all(one.listed.is_set() for one in self._reflectors):
                return
            self._pauses.pause(LONGEST_PAUSE_SECONDS)

    def _end(self, threads: list[threading.Thread]) -> None:
        for reflector in self._reflectors:
            reflector.stop()
        if self._election is not None:
            self._election.stop()
        deadline = time.monotonic() + 2.0
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._election is not None:
            self._election.release()
        self._api.close()


@dataclass(frozen=True)
class _ClusterRows:
    """The cluster as a source of rows; a RowSource."""

    cluster: Cluster
    settle: Callable[[], None]
    is_confirmed: Callable[[], bool]

    def changes(self) -> Mapping[str, Table]:
        return self.cluster.changes()

    def snapshot(self) -> Mapping[str, Table]:
        return self.cluster.snapshot()

    def tell_again(self, parts: Iterable[Mapping[str, Table]]) -> None:
        self.cluster.tell_again(parts)

    def restate(self) -> None:
        self.cluster.restate(named=self.is_confirmed())

    def forget_changes(self) -> None:
        self.cluster.forget_changes()
