"""What the instance knows of itself: asked beside the main loop, now and then.

A thread asks whom the machine's marks name. Outside the clouds nothing is sent, and
the thread ends at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ebpf_net.collectors.kernel.instance_metadata_choice import (
    NONE,
    Choice,
    InstanceMetadataOptions,
    choose_source,
)
from ebpf_net.collectors.kernel.instance_metadata_facts import (
    Instance,
    InstanceAddress,
    MetadataSource,
)
from ebpf_net.collectors.kernel.instance_metadata_service import (
    MetadataError,
    OutcomeCounts,
)
from ebpf_net.collectors.reference_tables import ReferenceTables
from ebpf_net.collectors.row_table import Row, Table

_INSTANCES, _ADDRESSES = "cloud_instances", "cloud_instance_addresses"
_MAX_ADDRESSES = 4096
_LONGEST_PAUSE_SECONDS = 300.0
_SECOND_NS = 1_000_000_000

_LOG = logging.getLogger(__name__)


@dataclass
class _Turn:
    """When something is done next, by the monotonic clock; failures put it off."""

    usual_seconds: float
    retry_seconds: float
    due: float = 0.0
    failures: int = 0

    def end(self, *, well: bool) -> None:
        """Say how it went."""
        self.failures = 0 if well else self.failures + 1
        pause = self.retry_seconds * 2 ** min(self.failures - 1, 16)
        pause = min(pause, _LONGEST_PAUSE_SECONDS) if self.failures else 0.0
        self.due = time.monotonic() + (pause or self.usual_seconds)


class InstanceMetadata:
    """Asks in a thread of its own; nothing waits for it. Its rows are for any thread.

    What was learnt stays until it is asked for again with success.
    """

    def __init__(
        self,
        options: InstanceMetadataOptions,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._options = options
        self._wall_ns = wall_ns
        self._counts = OutcomeCounts()
        self._in_cloud = False
        self._instance: Instance | None = None
        self._termination_ns = 0
        self._is_told = False
        self._lock = threading.Lock()
        self._rows = ReferenceTables((_INSTANCES, _ADDRESSES))
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="instance metadata", daemon=True
        )

    def start(self) -> None:
        """Begin to ask, if anybody may be asked."""
        if self._options.cloud != NONE:
            self._thread.start()

    def stop(self) -> None:
        """Stop asking; returns at once."""
        self._stopped.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait, after ``stop``, for a question that is on its way."""
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def take_changes(self) -> dict[str, Table]:
        """Return what changed since the last call."""
        with self._lock:
            return self._rows.changes()

    def snapshot(self) -> dict[str, Table]:
        """Return all rows."""
        with self._lock:
            return self._rows.snapshot()

    def status(self) -> dict[str, int]:
        """Return how many questions ended how; nothing outside the clouds."""
        return self._counts.status() if self._in_cloud else {}

    def _run(self) -> None:
        choice = choose_source(self._options, self._counts, self._stopped)
        if choice is None:
            _LOG.debug("this machine is in no cloud that it knows of")
            return
        self._in_cloud = True
        retry = self._options.retry_seconds
        refresh = _Turn(self._options.refresh_seconds, retry)
        notice = _Turn(self._options.notice_seconds, self._options.notice_seconds)
        while not self._stopped.is_set():
            if time.monotonic() >= refresh.due:
                refresh.end(well=self._refresh(choice))
            if self._instance and time.monotonic() >= notice.due:
                notice.end(well=self._look_for_notice(choice.source, self._instance))
            due = min(refresh.due, notice.due) if self._instance else refresh.due
            self._stopped.wait(max(0.0, due - time.monotonic()))

    def _refresh(self, choice: Choice) -> bool:
        """Ask for all, and tell whether all was answered."""
        try:
            self._ask(choice.source)
        except MetadataError as error:
            self._tell_failure(error)
        else:
            return True
        if self._instance is None and choice.substitute is not None:
            try:
                self._ask(choice.substitute)
            except MetadataError as error:
                _LOG.debug("cloud-init does not help: %s", error)
        return False

    def _ask(self, source: MetadataSource) -> None:
        instance = source.instance()
        if self._instance is None:
            _LOG.info(
                "this is instance %s of %s, in zone '%s'",
                instance.instance_id,
                instance.provider,
                instance.zone,
            )
        self._instance = instance
        self._put_instance(instance)
        self._put_addresses(source.addresses())

    def _look_for_notice(self, source: MetadataSource, instance: Instance) -> bool:
        try:
            termination_ns = source.termination_ns(self._wall_ns())
        except MetadataError as error:
            self._tell_failure(error)
            return False
        if termination_ns != self._termination_ns:
            self._termination_ns = termination_ns
            self._put_instance(instance)
            if termination_ns:
                time_told = datetime.fromtimestamp(termination_ns // _SECOND_NS, UTC)
                _LOG.warning("the cloud ends this instance at %s", time_told)
        return True

    def _put_instance(self, instance: Instance) -> None:
        self._put(_INSTANCES, [instance.row(self._termination_ns)])

    def _put_addresses(self, addresses: list[InstanceAddress]) -> None:
        rows = (address.row() for address in addresses[:_MAX_ADDRESSES])
        self._put(_ADDRESSES, [row for row in rows if row is not None])

    def _put(self, table: str, rows: list[Row]) -> None:
        """Let a table have these rows and no others."""
        with self._lock:
            known = self._rows[table]
            new = {str(row[0]): row for row in rows}
            for key in [str(row[0]) for row in known.values()]:
                if key not in new:
                    known.remove(key)
            for key, row in new.items():
                known.put(key, row)

    def _tell_failure(self, error: MetadataError) -> None:
        if not self._is_told:
            self._is_told = True
            _LOG.warning(
                "the cloud's metadata service does not tell what this instance is: "
                "%s; it is asked again",
                error,
            )
