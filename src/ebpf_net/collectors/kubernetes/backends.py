"""The backends of services, put together from their slices.

A backend may be in two slices while it moves from one to the other, and a slice may
come before its service: so rows are made for a whole service, once a window.
"""

from __future__ import annotations

from collections import defaultdict

from ebpf_net.collectors.kubernetes.objects import EndpointSlice
from ebpf_net.collectors.kubernetes.service_rows import (
    Backend,
    Name,
    backends,
    endpoint_row,
    name_of_slice,
)
from ebpf_net.collectors.reference_rows import ReferenceRows


class Backends:
    """Keeps ``kubernetes_endpoints``. Not thread-safe."""

    def __init__(self, rows: ReferenceRows) -> None:
        self._rows = rows
        self._slices: dict[str, tuple[Name, tuple[Backend, ...]]] = {}
        self._slices_of: defaultdict[Name, set[str]] = defaultdict(set)
        self._uids: dict[Name, str] = {}
        self._keys: dict[str, frozenset[str]] = {}  # of the rows, by service uid
        self._stale: set[Name] = set()

    def put_service(self, name: Name, uid: str) -> None:
        """Take a service; another of the same name takes its slices over."""
        before = self._uids.get(name)
        if before == uid:
            return
        if before is not None:
            self._remove_rows(before)
        self._uids[name] = uid
        self._stale.add(name)

    def remove_service(self, name: Name, uid: str) -> None:
        """Take the end of a service."""
        if self._uids.get(name) == uid:
            del self._uids[name]
        self._remove_rows(uid)

    def put_slice(self, endpoint_slice: EndpointSlice) -> None:
        """Take a slice that is new or may have changed."""
        uid, name = endpoint_slice.metadata.uid, name_of_slice(endpoint_slice)
        before = self._slices.get(uid)
        if name is None:
            self.remove_slice(uid)
            return
        now = name, backends(endpoint_slice)
        if before == now:
            return
        if before is not None and before[0] != name:
            self.remove_slice(uid)
        self._slices[uid] = now
        self._slices_of[name].add(uid)
        self._stale.add(name)

    def remove_slice(self, uid: str) -> None:
        """Take the end of a slice."""
        known = self._slices.pop(uid, None)
        if known is None:
            return
        name = known[0]
        self._slices_of[name].discard(uid)
        if not self._slices_of[name]:
            del self._slices_of[name]
        self._stale.add(name)

    def slices(self) -> set[str]:
        """Return the uids of all slices."""
        return set(self._slices)

    def settle(self) -> None:
        """Bring the rows up to date."""
        for name in self._stale:
            uid = self._uids.get(name)
            if uid is not None:
                self._settle_service(name, uid)
        self._stale = set()

    def _settle_service(self, name: Name, uid: str) -> None:
        rows = {}
        for slice_uid in self._slices_of.get(name, ()):
            for backend in self._slices[slice_uid][1]:
                found = endpoint_row(uid, backend)
                if found is not None:
                    rows[found[0]] = found[1]
        for key in self._keys.get(uid, frozenset()) - rows.keys():
            self._rows.remove(key)
        for key, row in rows.items():
            self._rows.put(key, row)
        self._keys[uid] = frozenset(str(row[0]) for row in rows.values())

    def _remove_rows(self, uid: str) -> None:
        for key in self._keys.pop(uid, frozenset()):
            self._rows.remove(key)
