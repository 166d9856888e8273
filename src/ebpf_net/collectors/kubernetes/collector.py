"""The collector's loop: a batch for each window while this replica leads.

The others keep what they know up to date, so that a new leader has a snapshot to begin
with. Windows end when those of all collectors do; most have no more to tell than that.

Two may lead at once for a while, and neither knows. Whoever leads therefore tells all
rows anew within fewer windows than the reducer keeps those that another one displaced.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ebpf_net.collectors.batches import BatchMaker
from ebpf_net.collectors.clock import Clock
from ebpf_net.collectors.free_memory import return_free_memory
from ebpf_net.collectors.kubernetes.api import ApiServer
from ebpf_net.collectors.kubernetes.cluster import Cluster, ClusterOptions
from ebpf_net.collectors.kubernetes.identity import wait_for_cluster_uid
from ebpf_net.collectors.kubernetes.lease import Election, LeaseOptions
from ebpf_net.collectors.kubernetes.reflector import Pace, Reflector
from ebpf_net.collectors.kubernetes.resources import RESOURCES
from ebpf_net.collectors.table_parts import split_tables
from ebpf_net.intake.batch import Batch

_SECOND_NS = 1_000_000_000
_FIRST_WINDOW_NS = _SECOND_NS // 2
_LONGEST_WAIT_SECONDS = 0.5
_FLUSH_SECONDS = 5.0
_LIST_SECONDS = 30.0
"""Waited for all resources to be listed; then what there is is told."""
_OWNER_SECONDS = 0.3
"""Waited at a window's end for owners of new pods."""
RESTATED_WINDOWS = 3
"""All rows are told anew with each third window; the reducer keeps them for six."""

logger = logging.getLogger(__name__)


class Sender(Protocol):
    """Where batches go; an IntakeClient."""

    def submit(self, batch: Batch) -> None:
        """Take a window's batch."""
        ...

    def status(self) -> dict[str, int]:
        """Return counters for the status of the next batch."""
        ...

    def close(self, timeout: float) -> bool:
        """Hand over what is left."""
        ...


Connect = Callable[[Callable[[], Batch]], Sender]
"""Makes a sender, which calls for a snapshot whenever the reducer wants one."""


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
        self._stopped = threading.Event()
        self._wake = threading.Event()  # set by all that ends a wait
        self._reflectors: list[Reflector] = []
        self._election: Election | None = None
        self._told_lock = threading.Lock()
        self._told_windows = 0
        self._sender: Sender | None = None

    def run(self) -> None:
        """Keep up with the cluster, and tell of it while leading, until ``stop``."""
        uid = wait_for_cluster_uid(
            self._api, self._stopped, self._options.pace.refusal_seconds
        )
        if uid is None:
            return
        options = self._options
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
        threads = self._start_threads()
        try:
            self._wait_listed()
            while not self._stopped.is_set():
                if self._leads():
                    self._lead(f"kubernetes-{uid}")
                else:
                    self._pause(_LONGEST_WAIT_SECONDS)
        finally:
            self._end(threads)

    def stop(self) -> None:
        """Ask ``run`` to end; returns at once."""
        self._stopped.set()
        self._wake.set()

    def status(self) -> dict[str, int]:
        """Return counters since the start."""
        status = self._api.status() | self._cluster.status()
        for reflector in self._reflectors:
            status |= reflector.status()
        if self._election is not None:
            status |= self._election.status()
        sender = self._sender  # another thread may end it meanwhile
        if sender is not None:
            status |= sender.status()
        return status

    # Leading

    def _lead(self, collector: str) -> None:
        """Tell windows until another one leads, or a stop."""
        start_ns = self._clock.wall_ns()
        batches = BatchMaker(collector, self._options.host, start_ns, self.status)
        self._cluster.forget_changes()  # the sender begins with a snapshot

        def snapshot() -> Batch:
            # Also asked for now and then for the copy on disk: of a cluster that is
            # larger than one part, the copy has the first, and the rest is told again
            # though nobody lacks it. The next restatement tells all to whoever does.
            with self._told_lock:
                first, *rest = split_tables(self._cluster.snapshot())
                self._cluster.tell_again(rest)  # with the next window
                return batches.snapshot(first)

        self._sender = sender = self._connect(snapshot)
        logger.info("telling of cluster %s", collector.partition("-")[2])
        try:
            end_ns = min(start_ns + _FIRST_WINDOW_NS, self._boundary_after(start_ns))
            while not self._stopped.is_set() and self._leads():
                start_ns, end_ns = self._tell_window(batches, sender, start_ns, end_ns)
            if self._leads():
                self._tell(batches, sender, start_ns, self._clock.wall_ns())
        finally:
            self._sender = None
            # What another one tells meanwhile must not be followed by what is older.
            taken = sender.close(_FLUSH_SECONDS if self._leads() else 0.0)
            if not taken:
                logger.warning("the reducer has not taken all; the rest waits on disk")

    def _tell_window(
        self, batches: BatchMaker, sender: Sender, start_ns: int, end_ns: int
    ) -> tuple[int, int]:
        """Wait for a window's end and tell it; return the next window's times."""
        interval_ns = int(self._options.interval_seconds * _SECOND_NS)
        while not self._stopped.is_set() and self._leads():
            now_ns = self._clock.wall_ns()
            if end_ns - now_ns > interval_ns:  # the clock was set back
                return now_ns, self._boundary_after(now_ns)
            if now_ns >= end_ns:
                self._wait_owners()
                self._tell(batches, sender, start_ns, end_ns)
                return end_ns, self._boundary_after(max(end_ns, now_ns))
            left = (end_ns - now_ns) / _SECOND_NS
            self._pause(min(left, _LONGEST_WAIT_SECONDS))
        return start_ns, end_ns

    def _tell(
        self, batches: BatchMaker, sender: Sender, start_ns: int, end_ns: int
    ) -> None:
        with self._told_lock:  # else a snapshot could say that it has what it lacks
            self._told_windows += 1
            if self._told_windows % RESTATED_WINDOWS == 0:
                self._cluster.restate(named=self._is_confirmed())
            parts = list(split_tables(self._cluster.changes())) or [{}]
            made = list(batches.window(parts, start_ns, max(start_ns, end_ns)))
        for batch in made:
            sender.submit(batch)
        return_free_memory()

    def _wait_owners(self) -> None:
        """Wait a little for owners whose event is behind that of their pods."""
        watched = [one for one in self._reflectors if one.resource.metadata_only]
        if any(one.lacks_right for one in watched):
            return
        deadline = time.monotonic() + _OWNER_SECONDS
        while self._cluster.unresolved() and time.monotonic() < deadline:
            self._pause(0.02)

    def _leads(self) -> bool:
        return self._election is None or self._election.leads()

    def _is_confirmed(self) -> bool:
        return self._election is None or self._election.is_confirmed()

    def _boundary_after(self, time_ns: int) -> int:
        interval_ns = int(self._options.interval_seconds * _SECOND_NS)
        return (time_ns // interval_ns + 1) * interval_ns

    # Beginning and end

    def _start_threads(self) -> list[threading.Thread]:
        options = self._options
        self._reflectors = [
            Reflector(self._api, resource, self._cluster, options.pace, self._wake.set)
            for resource in RESOURCES
        ]
        runs = [(one.run, one.resource.name) for one in self._reflectors]
        if options.lease is not None:
            self._election = Election(
                self._api, options.lease, self._clock, self._wake.set
            )
            runs.append((self._election.run, "lease"))
        threads = [
            threading.Thread(target=run, name=name, daemon=True) for run, name in runs
        ]
        for thread in threads:
            thread.start()
        return threads

    def _wait_listed(self) -> None:
        deadline = time.monotonic() + _LIST_SECONDS
        while not self._stopped.is_set() and time.monotonic() < deadline:
            if all(one.listed.is_set() for one in self._reflectors):
                return
            self._pause(_LONGEST_WAIT_SECONDS)

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

    def _pause(self, seconds: float) -> None:
        self._wake.wait(seconds)
        if not self._stopped.is_set():
            self._wake.clear()
