"""What is known of a cluster, as the rows of the reference tables.

Reflectors put objects in; once a window what changed is taken out. What ended stays for
a while with the time of its end, so that late edges find it, also in a snapshot.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ebpf_net.collectors.clock import Clock
from ebpf_net.collectors.endings import Endings
from ebpf_net.collectors.kubernetes.backends import Backends
from ebpf_net.collectors.kubernetes.node_rows import (
    namespace_row,
    node_address_rows,
    node_row,
)
from ebpf_net.collectors.kubernetes.objects import (
    EndpointSlice,
    KubernetesObject,
    Node,
    PartialObject,
    Pod,
    Service,
)
from ebpf_net.collectors.kubernetes.pod_rows import finished_ns, has_finished
from ebpf_net.collectors.kubernetes.pods import Pods
from ebpf_net.collectors.kubernetes.service_rows import (
    Name,
    name_of_service,
    service_address_rows,
    service_row,
)
from ebpf_net.collectors.object_labels import AllowList
from ebpf_net.collectors.reference_tables import ReferenceTables
from ebpf_net.collectors.row_spans import RowSpans
from ebpf_net.collectors.row_table import Row, Table
from ebpf_net.schema import Scope, tables_of

_OWNERS = ("replicasets", "jobs")
_KEY_TABLES = {
    "nodes": "kubernetes_nodes",
    "namespaces": "kubernetes_namespaces",
    "services": "kubernetes_services",
    "pods": "kubernetes_pods",
}
_SPANS = RowSpans("kubernetes_addresses")


@dataclass(frozen=True)
class ClusterOptions:
    """Who the cluster is, what is told of labels, how long the gone are kept."""

    uid: str
    name: str = ""
    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    delete_ttl_seconds: float = 60.0
    delete_capacity: int = 10_000


class Cluster:
    """A sink of reflectors; for any thread."""

    def __init__(self, options: ClusterOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._lock = threading.Lock()
        self._rows = ReferenceTables(tables_of(Scope.CLUSTER))
        self._rows["kubernetes_clusters"].put(options.uid, (options.uid, options.name))
        self._labels = AllowList(options.labels)
        self._pods = Pods(
            self._rows["kubernetes_pods"],
            self._rows["kubernetes_containers"],
            self._labels,
            AllowList(options.annotations),
        )
        self._backends = Backends(self._rows["kubernetes_endpoints"])
        self._service_names: dict[str, Name] = {}
        self._owners_listed: dict[str, set[str]] = {name: set() for name in _OWNERS}
        self._addresses: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        # Objects and single addresses that have ended, by resource and key.
        self._ending: Endings[tuple[str, str]] = Endings(
            clock, options.delete_ttl_seconds, options.delete_capacity
        )

    def put(self, resource: str, item: KubernetesObject) -> None:
        """Take an object that is new or may have changed."""
        with self._lock:
            if isinstance(item, Pod):
                self._put_pod(item)
            elif isinstance(item, EndpointSlice):
                self._backends.put_slice(item)
            elif isinstance(item, Service):
                self._put_service(item)
            elif isinstance(item, Node):
                self._put_node(item)
            else:
                self._put_partial(resource, item)

    def drop(self, resource: str, uid: str) -> None:
        """Take the end of an object."""
        with self._lock:
            self._drop(resource, uid)

    def retain(self, resource: str, uids: set[str]) -> None:
        """Take the end of all objects of a resource but these."""
        with self._lock:
            for uid in self._known(resource) - uids:
                self._drop(resource, uid)

    def unresolved(self) -> int:
        """Return how many pods wait for their owner to be listed."""
        with self._lock:
            return self._pods.unresolved()

    def changes(self) -> dict[str, Table]:
        """Return what changed since the last call."""
        with self._lock:
            self._settle()
            return self._rows.changes()

    def snapshot(self) -> dict[str, Table]:
        """Return all rows, with those that ended a short while ago."""
        with self._lock:
            self._settle()
            return self._rows.snapshot()

    def tell_again(self, parts: Iterable[Mapping[str, Table]]) -> None:
        """Take these rows as changed, because a snapshot had no room for them."""
        with self._lock:
            self._rows.tell_again(parts)

    def restate(self, *, named: bool) -> None:
        """Take all rows as changed; ``named``: also which cluster it is.

        Rows end in the reducer when another source names the cluster, until they are
        told again. Who names it has its rows believed before those of others.
        """
        with self._lock:
            self._rows.restate(() if named else (Scope.CLUSTER.value,))

    def forget_changes(self) -> None:
        """Take all there is as told, because a snapshot will tell it."""
        with self._lock:
            self._settle()
            self._rows.forget_changes()

    def status(self) -> dict[str, int]:
        """Return how many rows there are."""
        with self._lock:
            counts = self._rows.counts().items()
            return {f"kubernetes.rows.{name[11:]}": count for name, count in counts} | {
                "kubernetes.ending": len(self._ending),
                "kubernetes.cut": self._rows.cut,
            }

    # Objects

    def _put_pod(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        if not has_finished(pod):
            self._ending.discard(("pods", uid))
            self._pods.put(pod)
            self._put_addresses(uid, self._pods.address_rows(pod))
            return
        now_ns = self._clock.wall_ns()
        end_ns = min(finished_ns(pod) or now_ns, now_ns)
        if not self._is_known(pod):
            if not finished_ns(pod) or end_ns <= now_ns - self._ending.kept_ns:
                return  # it ended long before it was ever seen
            self._put_addresses(uid, self._pods.address_rows(pod))
        self._pods.put(pod)
        self._end_addresses(uid, end_ns)
        self._end("pods", uid)

    def _is_known(self, pod: Pod) -> bool:
        return pod.metadata.uid in self._rows["kubernetes_pods"]

    def _put_service(self, service: Service) -> None:
        uid, name = service.metadata.uid, name_of_service(service)
        self._ending.discard(("services", uid))
        self._service_names[uid] = name
        self._rows["kubernetes_services"].put(uid, service_row(service, self._labels))
        self._backends.put_service(name, uid)
        self._put_addresses(uid, service_address_rows(service))

    def _put_node(self, node: Node) -> None:
        uid = node.metadata.uid
        self._ending.discard(("nodes", uid))
        self._rows["kubernetes_nodes"].put(uid, node_row(node, self._labels))
        self._put_addresses(uid, node_address_rows(node))

    def _put_partial(self, resource: str, item: PartialObject) -> None:
        metadata = item.metadata
        if resource in _OWNERS:
            self._owners_listed[resource].add(metadata.uid)
            self._pods.put_owner(metadata)
        elif resource == "namespaces":
            self._ending.discard((resource, metadata.uid))
            row = namespace_row(metadata, self._labels)
            self._rows["kubernetes_namespaces"].put(metadata.uid, row)

    def _known(self, resource: str) -> set[str]:
        if resource in _OWNERS:
            return set(self._owners_listed[resource])
        if resource == "endpointslices":
            return self._backends.slices()
        rows = self._rows[_KEY_TABLES[resource]]
        return {str(row[0]) for row in rows.values()}

    def _drop(self, resource: str, uid: str) -> None:
        if resource in _OWNERS:
            self._owners_listed[resource].discard(uid)
            self._pods.remove_owner(uid)
        elif resource == "endpointslices":
            self._backends.remove_slice(uid)
        elif uid in self._rows[_KEY_TABLES[resource]]:
            if resource == "services":
                self._backends.remove_service(self._service_names[uid], uid)
            self._end_addresses(uid, self._clock.wall_ns())
            self._end(resource, uid)

    # Addresses

    def _put_addresses(self, uid: str, found: Iterable[tuple[str, Row]]) -> None:
        rows = self._rows["kubernetes_addresses"]
        before = self._addresses.get(uid, ())
        now_ns = self._clock.wall_ns()
        keys = []
        for key, row in found:
            known = rows.get(key)
            moved = bool(before) and key not in before
            rows.put(key, _SPANS.with_start(row, known, now_ns, moved=moved))
            keys.append(key)
        for key in before:
            if key not in keys:
                self._end_address(key, now_ns)
        ended = [key for key in before if key not in keys and key in rows]
        if keys or ended:
            self._addresses[uid] = (*keys, *ended)

    def _end_addresses(self, uid: str, end_ns: int) -> None:
        for key in self._addresses.get(uid, ()):
            self._end_address(key, end_ns)

    def _end_address(self, key: str, end_ns: int) -> None:
        rows = self._rows["kubernetes_addresses"]
        row = rows.get(key)
        if row is not None and not _SPANS.has_ended(row):
            rows.put(key, _SPANS.with_end(row, end_ns))
            self._end("addresses", key)

    # Ends

    def _end(self, resource: str, uid: str) -> None:
        """Keep what has ended for a while; when there is too much, not the oldest."""
        for surplus in self._ending.add((resource, uid)):
            self._remove(*surplus)

    def _settle(self) -> None:
        self._backends.settle()
        while over := self._ending.take_over():
            self._remove(*over)

    def _remove(self, resource: str, uid: str) -> None:
        if resource == "addresses":
            row = self._rows["kubernetes_addresses"].get(uid)
            if row is not None and _SPANS.has_ended(row):
                self._remove_address(uid, str(row[2]))
            return
        for key in self._addresses.pop(uid, ()):
            self._rows["kubernetes_addresses"].remove(key)
            self._ending.discard(("addresses", key))
        if resource == "pods":
            self._pods.remove(uid)
        else:
            self._rows[_KEY_TABLES[resource]].remove(uid)
            self._service_names.pop(uid, None)

    def _remove_address(self, key: str, owner_uid: str) -> None:
        self._rows["kubernetes_addresses"].remove(key)
        left = tuple(one for one in self._addresses.get(owner_uid, ()) if one != key)
        if left:
            self._addresses[owner_uid] = left
        else:
            self._addresses.pop(owner_uid, None)
