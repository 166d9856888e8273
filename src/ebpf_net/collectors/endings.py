"""What has ended and is kept for a while, so that late edges find it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from ebpf_net.collectors.clock import Clock

_SECOND_NS = 1_000_000_000
_Key = TypeVar("_Key", bound=Hashable)


class Endings(Generic[_Key]):
    """Keys of what has ended, in the order in which they ended. Not thread-safe."""

    def __init__(self, clock: Clock, seconds: float, capacity: int) -> None:
        self._clock = clock
        self._kept_ns = int(seconds * _SECOND_NS)
        self._capacity = capacity
        self._until_ns: OrderedDict[_Key, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until_ns)

    @property
    def kept_ns(self) -> int:
        """How long each is kept."""
        return self._kept_ns

    def add(self, key: _Key) -> list[_Key]:
        """Note an end; return what is to be removed because there is too much."""
        until_ns = self._clock.monotonic_ns() + self._kept_ns
        self._until_ns.setdefault(key, until_ns)
        surplus = len(self._until_ns) - self._capacity
        return [self._until_ns.popitem(last=False)[0] for _ in range(surplus)]

    def discard(self, key: _Key) -> None:
        """Forget an end: it is back, or it has been removed."""
        self._until_ns.pop(key, None)

    def take_over(self) -> _Key | None:
        """Take the first that has been kept for long enough; None: there is none."""
        if not self._until_ns:
            return None
        key = next(iter(self._until_ns))
        if self._until_ns[key] > self._clock.monotonic_ns():
            return None
        del self._until_ns[key]
        return key
