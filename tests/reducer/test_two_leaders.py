"""Two replicas that tell of one cluster at once, as the reducer sees it."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.collectors.kubernetes.fake_api import Answer, FakeApi, failed, listed
from tests.collectors.kubernetes.shapes import pod_document
from tests.world.waiting import wait_until

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.kubernetes.access import Access
from ebpf_net.collectors.kubernetes.api import ApiServer
from ebpf_net.collectors.kubernetes.collector import (
    RESTATED_WINDOWS,
    CollectorOptions,
    KubernetesCollector,
)
from ebpf_net.collectors.kubernetes.credentials import Credentials
from ebpf_net.collectors.kubernetes.lease import LeaseOptions
from ebpf_net.intake.batch import Batch, BatchKind
from ebpf_net.intake.decode import decode_tables
from ebpf_net.reducer.kubernetes_tables import clusters_of
from ebpf_net.reducer.reference import KEEP_WINDOWS, Change, References

INTERVAL_SECONDS = 0.1
LASTING = 2 * KEEP_WINDOWS
NAME = LeaseOptions.name


class Reducer:
    """Reference tables by the batches of both; a window for each one of a replica."""

    def __init__(self) -> None:
        self.references = References()
        self.window = 0
        self.seen: list[frozenset[str]] = []
        self._lock = threading.Lock()
        self._sources = itertools.count(1)

    def connect(self, snapshot: Callable[[], Batch]) -> Sender:
        return Sender(self, next(self._sources), snapshot)

    def take(self, source: int, batches: list[Batch]) -> None:
        changes = [
            Change(
                source,
                decode_tables(batch.body),
                batch.header.kind is BatchKind.SNAPSHOT,
            )
            for batch in batches
        ]
        end_ns = batches[-1].header.window_end_ns
        with self._lock:
            self.window = max(self.window, end_ns // int(INTERVAL_SECONDS * 1e9))
            self.references.apply(changes, self.window)
            self.references.forget(self.window, frozenset())
            self.seen.append(self._names())

    def lose(self, source: int) -> None:
        """Take what a source told for too old, as after the horizon."""
        with self._lock:
            self.references.forget(self.window, frozenset({source}))

    def names(self) -> frozenset[str]:
        with self._lock:
            return self._names()

    def wait_for_windows(self, count: int) -> None:
        last = self.window + count
        wait_until(lambda: self.window >= last, 20)

    def _names(self) -> frozenset[str]:
        tables = clusters_of(self.references.tables).tables
        return frozenset(tables["pods"]["workload_name"].to_pylist())


class Sender:
    def __init__(
        self, reducer: Reducer, source: int, snapshot: Callable[[], Batch]
    ) -> None:
        self.source = source
        self.has_told = False
        self._reducer = reducer
        self._snapshot: Callable[[], Batch] | None = snapshot

    def submit(self, batch: Batch) -> None:
        first = [self._snapshot()] if self._snapshot else []
        self._snapshot = None
        self._reducer.take(self.source, [*first, batch])
        self.has_told = True

    def status(self) -> dict[str, int]:
        return {}

    def close(self, timeout: float) -> bool:
        return True


class Replica:
    def __init__(self, reducer: Reducer, pod: str, lease: list[Answer]) -> None:
        system = Answer(json.dumps({"metadata": {"uid": "c-1"}}).encode())
        self.api = FakeApi(
            pods=[listed(pod_document(name=pod, uid="pod-1"))],
            **{"kube-system": [system], NAME: lease},
        )
        self.senders: list[Sender] = []
        access = Access(self.api.url)
        lease_options = LeaseOptions(
            "default", pod, duration_seconds=0.6, refusal_seconds=0.1
        )
        self.collector = KubernetesCollector(
            ApiServer(access, Credentials(access)),
            CollectorOptions(
                "host", interval_seconds=INTERVAL_SECONDS, lease=lease_options
            ),
            SystemClock(),
            lambda snapshot: self._connect(reducer, snapshot),
        )
        self._thread = threading.Thread(target=self.collector.run)

    def start(self) -> None:
        self._thread.start()
        wait_until(lambda: any(one.has_told for one in self.senders), 20)

    def is_telling(self) -> bool:
        status = self.collector.status() if self.senders else {}
        return bool(status.get("kubernetes.leads"))

    def stop(self) -> None:
        self.collector.stop()
        self.api.ended.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _connect(self, reducer: Reducer, snapshot: Callable[[], Batch]) -> Sender:
        self.senders.append(reducer.connect(snapshot))
        return self.senders[-1]


@contextmanager
def replica(reducer: Reducer, pod: str, *lease: Answer) -> Iterator[Replica]:
    """Run one; without answers for its Lease it gets it."""
    one = Replica(reducer, pod, list(lease))
    with one.api:
        one.start()
        try:
            yield one
        finally:
            one.stop()


def held_by(identity: str) -> Answer:
    spec = {"holderIdentity": identity, "leaseDurationSeconds": 600}
    return Answer(json.dumps({"metadata": {"name": NAME}, "spec": spec}).encode())


def test_names_live_on_when_one_that_led_freely_stands_by() -> None:
    reducer = Reducer()
    freely = [failed(403)] * 25
    with (
        replica(reducer, "leader") as leader,
        replica(reducer, "standby", *freely, *[held_by("leader")] * 10_000) as standby,
    ):
        wait_until(lambda: not standby.is_telling(), 20)
        reducer.wait_for_windows(LASTING)
        assert leader.is_telling()
        assert reducer.names() == {"leader"}
        assert all(reducer.seen)
        reducer.lose(standby.senders[0].source)
        assert reducer.names() == {"leader"}


def test_names_live_on_when_one_of_two_that_lead_freely_ends() -> None:
    reducer = Reducer()
    freely = [failed(403)] * 10_000
    with replica(reducer, "first", *freely):
        with replica(reducer, "second", *freely) as second:
            reducer.wait_for_windows(LASTING)
            assert all(reducer.seen)
        reducer.wait_for_windows(LASTING)
        assert all(reducer.seen)
        reducer.lose(second.senders[0].source)
        assert reducer.names() == {"first"}


def test_a_leader_out_of_reach_is_not_believed_before_its_successor() -> None:
    reducer = Reducer()
    away = [listed(), listed(), *[failed(500)] * 10_000]
    with (
        replica(reducer, "old", *away) as old,
        replica(reducer, "new"),
    ):
        reducer.wait_for_windows(1)
        count = len(reducer.seen)
        reducer.wait_for_windows(LASTING)
        assert old.is_telling()
        assert set(reducer.seen[count:]) == {frozenset({"new"})}


def test_rows_are_told_anew_before_the_reducer_forgets_them() -> None:
    assert RESTATED_WINDOWS <= KEEP_WINDOWS - 2
