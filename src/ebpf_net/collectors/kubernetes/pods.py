"""The rows of pods and their containers, with the owners that they turn out to have."""

from __future__ import annotations

from collections.abc import Iterator
from sys import intern

from ebpf_net.collectors.kubernetes.objects import Metadata, Pod
from ebpf_net.collectors.kubernetes.owners import (
    Owner,
    Owners,
    controller_of,
    is_watched,
    to_owner,
)
from ebpf_net.collectors.kubernetes.pod_rows import (
    Allowed,
    container_rows,
    owner_of_row,
    pod_address_rows,
    pod_row,
    with_owner,
)
from ebpf_net.collectors.object_labels import AllowList
from ebpf_net.collectors.reference_rows import ReferenceRows
from ebpf_net.collectors.row_table import Row


class Pods:
    """Keeps ``kubernetes_pods`` and ``kubernetes_containers``. Not thread-safe."""

    def __init__(
        self,
        pods: ReferenceRows,
        containers: ReferenceRows,
        labels: AllowList,
        annotations: AllowList,
    ) -> None:
        self._pods = pods
        self._containers = containers
        self._allowed = Allowed(labels, annotations)
        self._owners = Owners()
        self._direct: dict[str, Owner] = {}  # of each pod that has an owner
        self._waiting: dict[str, set[str]] = {}  # pods, by the owner not listed yet
        self._containers_of: dict[str, tuple[str, ...]] = {}

    def put(self, pod: Pod) -> None:
        """Take a pod that is new or may have changed."""
        uid = pod.metadata.uid
        row = pod_row(pod, self._find_owner(pod), self._allowed)
        self._pods.put(uid, row)
        before = self._containers_of.get(uid, ())
        keys = []
        for key, container in container_rows(pod):
            self._containers.put(key, container)
            keys.append(key)
        for key in before:
            if key not in keys:
                self._containers.remove(key)
        if before != tuple(keys):
            self._containers_of[uid] = tuple(keys)

    def address_rows(self, pod: Pod) -> Iterator[tuple[str, Row]]:
        """Yield keys and rows of a pod's addresses."""
        return pod_address_rows(pod)

    def remove(self, uid: str) -> None:
        """Remove a pod's rows."""
        self._pods.remove(uid)
        for key in self._containers_of.pop(uid, ()):
            self._containers.remove(key)
        direct = self._direct.pop(uid, None)
        if direct is not None:
            self._stop_waiting(uid, direct)

    def put_owner(self, metadata: Metadata) -> None:
        """Take a ReplicaSet or Job, and correct the pods that are its."""
        if not self._owners.put(metadata):
            return
        waiting = self._waiting.pop(metadata.uid, None)
        if waiting is None:
            waiting = {
                uid for uid, one in self._direct.items() if one.uid == metadata.uid
            }
        for uid in waiting:
            row = self._pods.get(uid)
            if row is not None:
                self._pods.put(
                    uid, with_owner(row, self._owners.top(self._direct[uid]))
                )

    def remove_owner(self, uid: str) -> None:
        """Take the end of a ReplicaSet or Job; its pods may outlive it and keep it."""
        self._owners.remove(uid)

    def unresolved(self) -> int:
        """Return how many pods wait for their owner to be listed."""
        return sum(len(waiting) for waiting in self._waiting.values())

    def _find_owner(self, pod: Pod) -> Owner:
        uid = pod.metadata.uid
        reference = controller_of(pod.metadata)
        before = self._direct.get(uid)
        if reference is None:
            self._direct.pop(uid, None)
            if before is not None:
                self._stop_waiting(uid, before)
            return Owner("Pod", pod.metadata.name, uid)
        direct = to_owner(reference)
        self._direct[uid] = direct
        if before is not None and before != direct:
            self._stop_waiting(uid, before)
        if self._owners.knows(direct.uid) or not is_watched(reference):
            return self._owners.top(direct)
        row = self._pods.get(uid)
        if row is not None and before == direct:
            return owner_of_row(row)  # the owner went first: as it was
        self._waiting.setdefault(intern(direct.uid), set()).add(uid)
        return direct

    def _stop_waiting(self, uid: str, direct: Owner) -> None:
        waiting = self._waiting.get(direct.uid)
        if waiting is not None:
            waiting.discard(uid)
            if not waiting:
                del self._waiting[direct.uid]
