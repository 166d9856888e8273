"""Whose a pod is: from its owner reference up to the topmost owner that is watched.

A ReplicaSet is its Deployment's, or a Rollout's, or whoever's reference it has; a Job
is its CronJob's. Owners of any other kind are where it ends.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from ebpf_net.collectors.kubernetes.objects import Metadata, OwnerReference

_WATCHED = {"ReplicaSet": "apps/", "Job": "batch/"}
_MAX_STEPS = 8


class Owner(NamedTuple):
    """Who owns something."""

    kind: str
    name: str
    uid: str


def controller_of(metadata: Metadata) -> OwnerReference | None:
    """Return the reference to the controller, or to any owner if none controls."""
    references = metadata.owner_references
    if not references:
        return None
    return next((one for one in references if one.controller), references[0])


def to_owner(reference: OwnerReference) -> Owner:
    """Return what is kept of a reference; equal texts are kept once."""
    intern = sys.intern
    return Owner(intern(reference.kind), intern(reference.name), intern(reference.uid))


def is_watched(reference: OwnerReference) -> bool:
    """Whether the owner's own owner can be known."""
    group = _WATCHED.get(reference.kind)
    return group is not None and reference.api_version.startswith(group)


class Owners:
    """The owners of ReplicaSets and Jobs, by their uid. Not thread-safe."""

    def __init__(self) -> None:
        self._above: dict[str, Owner | None] = {}

    def __len__(self) -> int:
        return len(self._above)

    def put(self, metadata: Metadata) -> bool:
        """Take a ReplicaSet or Job; whether its owner was another, or is new."""
        reference = controller_of(metadata)
        owner = to_owner(reference) if reference is not None else None
        uid = metadata.uid
        if uid in self._above and self._above[uid] == owner:
            return False
        self._above[sys.intern(uid)] = owner
        return True

    def remove(self, uid: str) -> None:
        """Forget one that is gone; what was resolved by it stays."""
        self._above.pop(uid, None)

    def knows(self, uid: str) -> bool:
        """Whether it has been listed."""
        return uid in self._above

    def top(self, owner: Owner) -> Owner:
        """Return the topmost owner that is known."""
        for _ in range(_MAX_STEPS):
            above = self._above.get(owner.uid)
            if above is None:
                break
            owner = above
        return owner
