"""The collector: what the poller finds is told, at first when all has been asked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ebpf_net.collectors.clock import Clock
from ebpf_net.collectors.cloud.inventory import Inventory
from ebpf_net.collectors.cloud.poller import Poller, PollerOptions
from ebpf_net.collectors.cloud.providers import Provider
from ebpf_net.collectors.pauses import Pauses
from ebpf_net.collectors.reference_windows import (
    LONGEST_PAUSE_SECONDS,
    Connect,
    ReferenceWindows,
    WindowOptions,
)
from ebpf_net.intake.headers import MAX_NAME_LENGTH

_FIRST_SECONDS = 30.0
"""Waited for all to be asked; then what there is is told."""
_END_SECONDS = 1.0
_PREFIX = "cloud-"
RESTATED_WINDOWS = 60
"""After so many windows all rows are told anew: for who was displaced by another
collector of the same account, which has ended since."""


@dataclass(frozen=True)
class CollectorOptions:
    """How often it is asked and told; ``host`` is for people."""

    host: str
    interval_seconds: float = 10.0
    poller: PollerOptions = field(default_factory=PollerOptions)


class CloudCollector:
    """``run`` occupies its thread until ``stop``, which any thread may call."""

    def __init__(
        self,
        providers: Sequence[Provider],
        options: CollectorOptions,
        clock: Clock,
        connect: Connect,
    ) -> None:
        self._options = options
        self._pauses = Pauses()
        self._inventory = Inventory(clock)
        self._poller = Poller(providers, self._inventory, options.poller)
        self._windows = ReferenceWindows(
            self._inventory,
            WindowOptions(options.host, options.interval_seconds, RESTATED_WINDOWS),
            clock,
            connect,
            self.status,
        )

    def run(self) -> None:
        """Ask and tell until ``stop``."""
        self._poller.start()
        try:
            self._wait_asked()
            if not self._pauses.stopped.is_set():
                name = _name(self._poller.accounts()) or self._options.host
                self._windows.tell(_PREFIX + name, self._pauses)
        finally:
            self._poller.stop()
            self._poller.join(_END_SECONDS)

    def stop(self) -> None:
        """Ask ``run`` to end; returns at once."""
        self._pauses.stop()

    def status(self) -> dict[str, int]:
        """Return counters since the start."""
        return (
            self._poller.status()
            | self._inventory.status()
            | self._windows.sender_status()
        )

    def _wait_asked(self) -> None:
        deadline = time.monotonic() + _FIRST_SECONDS
        while not self._pauses.stopped.is_set() and time.monotonic() < deadline:
            if self._poller.has_asked_all():
                return
            self._pauses.pause(LONGEST_PAUSE_SECONDS / 10)


def _name(accounts: Iterable[tuple[str, str]]) -> str:
    """Return what tells a collector of these accounts from others."""
    name = ",".join(f"{provider}-{account}" for provider, account in sorted(accounts))
    if len(_PREFIX + name) <= MAX_NAME_LENGTH:
        return name
    return hashlib.sha256(name.encode()).hexdigest()
