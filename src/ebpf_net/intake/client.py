"""The collector's end of the intake: sends batches until they are committed.

One thread writes batches to the spool's disk, one sends them, one at a time and in
order. With each it says which of those before it are gone for good, so that the reducer
never waits for what cannot come.
"""

from __future__ import annotations

import dataclasses
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from ebpf_net.errors import BatchError
from ebpf_net.intake.batch import Batch, BatchKind, Receipt
from ebpf_net.intake.connection import ConnectionFailed, IntakeConnection
from ebpf_net.intake.headers import receipt_from_json
from ebpf_net.intake.options import ClientOptions
from ebpf_net.intake.reply import Reply
from ebpf_net.intake.spool import Spool, SpoolOptions

__all__ = ["ClientOptions", "IntakeClient", "Spool", "SpoolOptions"]

_EMPTY_BODY = bytes.fromhex("28b52ffd2000010000")  # a zstd frame of no bytes
_LOG_SECONDS = 60.0
_CLOSING_POLL_SECONDS = 0.1
_WRITE_RETRY_SECONDS = 5.0
_MAX_FAULTS = 30
"""Answers 500 in a row after which a batch is taken for the cause and dropped."""

logger = logging.getLogger(__name__)


@dataclass
class _Lane:
    """How far the present reducer has what an incarnation made."""

    collector: str
    cursor: int  # sent and taken up to here
    sent: int = 0  # highest that was ever sent
    snapshot_taken: bool = False
    conflicts: int = 0  # 409 in a row
    faults: int = 0  # 500 in a row


class IntakeClient:
    """Starts its threads at once. ``snapshot`` is called from one of them.

    The snapshot is sent whenever the reducer knows nothing of this collector. It should
    have rows for what ended since the oldest batch that is not committed.
    """

    def __init__(
        self, options: ClientOptions, spool: Spool, snapshot: Callable[[], Batch]
    ) -> None:
        """Check the options; raises SettingError."""
        self._options = options
        self._spool = spool
        self._snapshot = snapshot
        self._connection = IntakeConnection(options)
        self._lanes: dict[str, _Lane] = {}
        self._reducer = ""
        self._failures = 0  # in a row
        self._kept_snapshot = -options.snapshot_batches
        self._counts: Counter[str] = Counter()
        self._logged: dict[str, float] = {}
        self._wake = threading.Condition()
        self._submitted = 0  # wakes the writer and the sender
        self._deadline: float | None = None  # set by close
        self._stopping = False
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._send, "send"), (self._write, "spool"))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch) -> None:
        """Take a window batch of this incarnation; never waits for disk or network."""
        self._spool.add(batch)
        with self._wake:
            self._submitted += 1
            self._wake.notify_all()

    def status(self) -> dict[str, int]:
        """Return counters for the status of the next batch."""
        with self._wake:
            counts = dict(self._counts)
        names = ("sent", "resent", "failures", "snapshots")
        return {
            **self._spool.counters(),
            **{f"client.{name}": counts.get(name, 0) for name in names},
        }

    def close(self, timeout: float) -> bool:
        """Hand over what is left; what is not committed stays on disk.

        What the reducer has taken is not waited for if a copy is on disk: the next
        start sends it again unless it was committed, and it counts once all the same.
        Returns whether the reducer has taken everything. Call it once, after the last
        ``submit``.
        """
        deadline = time.monotonic() + timeout
        with self._wake:
            self._deadline = deadline
            self._wake.notify_all()
        self._threads[0].join(timeout + 0.5)
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._threads[1].join(1.0)
        is_taken = self._is_taken()
        self._spool.close()
        return is_taken

    # The writer's thread

    def _write(self) -> None:
        seen = -1
        while True:
            with self._wake:
                if self._submitted == seen and not self._stopping:
                    self._wake.wait(_WRITE_RETRY_SECONDS)
                if self._stopping:
                    return
                seen = self._submitted
            self._spool.write()

    # The sender's thread

    def _send(self) -> None:
        while not self._is_over():
            try:
                self._step()
            except (ConnectionFailed, OSError, BatchError) as error:
                self._fail(str(error))
            except Exception:
                logger.exception("the intake's client goes on after a fault")
                self._fail("internal fault")
        self._connection.close()

    def _is_over(self) -> bool:
        with self._wake:
            if self._stopping:
                return True
            if self._deadline is None:
                return False
            deadline = self._deadline
        if not self._spool.incarnations() or time.monotonic() >= deadline:
            return True
        return self._is_taken() and self._spool.write()

    def _is_taken(self) -> bool:
        """Whether the reducer has all there is, committed or not."""
        lanes = self._lanes
        return all(
            incarnation in lanes
            and lanes[incarnation].snapshot_taken
            and lanes[incarnation].cursor >= self._spool.last(incarnation)
            for incarnation in self._spool.incarnations()
        )

    def _step(self) -> None:
        """Send the next batch, or wait for one."""
        with self._wake:
            submitted = self._submitted
        incarnations = self._spool.incarnations()
        for incarnation in incarnations:
            batch = self._next(incarnation)
            if batch is not None:
                self._send_batch(batch)
                return
        waiting = [
            incarnation
            for incarnation in incarnations
            if self._is_closing() or self._spool.is_finished(incarnation)
        ]
        seconds = None
        if waiting:
            self._poll(waiting[0])
            closing = self._is_closing()
            seconds = _CLOSING_POLL_SECONDS if closing else self._options.poll_seconds
        self._wait(seconds, submitted)

    def _next(self, incarnation: str) -> Batch | None:
        lane = self._lanes.get(incarnation)
        cursor = lane.cursor if lane else self._spool.settled(incarnation)
        batch = self._spool.next(incarnation, cursor)
        if batch is not None and lane is None:
            self._lanes[incarnation] = _Lane(batch.header.collector, cursor)
        return batch

    def _send_batch(self, batch: Batch) -> None:
        header = batch.header
        lane = self._lanes[header.incarnation]
        self._keep_snapshot(header.incarnation)
        if not lane.snapshot_taken:
            self._send_snapshot(lane, batch)
            return  # what comes next may be another batch now
        header = dataclasses.replace(
            header,
            settled=min(self._spool.settled(header.incarnation), header.sequence - 1),
            previous=self._spool.previous(header.incarnation, header.sequence),
        )
        resent = header.sequence <= lane.sent
        lane.sent = max(lane.sent, header.sequence)
        reply = self._post(dataclasses.replace(batch, header=header))
        self._count("resent" if resent else "sent")
        if reply.status == HTTPStatus.OK:
            receipt = receipt_from_json(reply.body)
            lane.cursor, lane.conflicts, lane.faults = header.sequence, 0, 0
            self._spool.take(header.incarnation, header.sequence)
            self._take_receipt(header.incarnation, lane, receipt)
        elif reply.is_refusal or self._is_poison(lane, reply):
            self._note_refusal(header.sequence, reply)
            self._spool.refuse(header.incarnation, header.sequence)
            self._succeed()
        elif reply.status == HTTPStatus.CONFLICT:
            self._rewind(header.incarnation, lane)
            lane.conflicts += 1
            if lane.conflicts > 1:
                self._fail("it asks for one snapshot after another")
        else:
            self._fail_reply(reply)

    def _is_poison(self, lane: _Lane, reply: Reply) -> bool:
        """Whether the reducer fails at this batch again and again."""
        if reply.status != HTTPStatus.INTERNAL_SERVER_ERROR:
            return False
        lane.faults += 1
        if lane.faults < _MAX_FAULTS:
            return False
        lane.faults = 0
        return True

    def _send_snapshot(self, lane: _Lane, first: Batch) -> None:
        """Send what is known beside the windows."""
        incarnation = first.header.incarnation
        snapshot = self._make_snapshot(first)
        settled = self._spool.settled(incarnation)
        header = dataclasses.replace(snapshot.header, settled=settled)
        self._count("snapshots")
        reply = self._post(dataclasses.replace(snapshot, header=header))
        if reply.is_refusal:
            self._note_refusal(header.sequence, reply)
            reply = self._post(_empty_snapshot(first, settled))
        if reply.status != HTTPStatus.OK:
            self._fail_reply(reply)
            return
        self._take_receipt(incarnation, lane, receipt_from_json(reply.body))
        lane.snapshot_taken = True

    def _make_snapshot(self, first: Batch) -> Batch:
        incarnation = first.header.incarnation
        if not self._spool.is_finished(incarnation):
            return self._snapshot()
        settled = first.header.sequence - 1
        return self._spool.snapshot(incarnation) or _empty_snapshot(first, settled)

    def _keep_snapshot(self, incarnation: str) -> None:
        """Keep a snapshot on disk now and then, for a successor."""
        if self._spool.is_finished(incarnation):
            return
        last = self._spool.last(incarnation)
        if last - self._kept_snapshot >= self._options.snapshot_batches:
            self._kept_snapshot = last
            self._spool.keep_snapshot(self._snapshot())

    def _poll(self, incarnation: str) -> None:
        lane = self._lanes.get(incarnation)
        if lane is None:
            return
        reply = self._connection.progress(
            lane.collector, incarnation, self._request_seconds()
        )
        if reply.status == HTTPStatus.OK:
            self._take_receipt(incarnation, lane, receipt_from_json(reply.body))
        else:
            self._fail_reply(reply)

    def _take_receipt(self, incarnation: str, lane: _Lane, receipt: Receipt) -> None:
        self._succeed()
        if receipt.reducer != self._reducer:
            self._meet(receipt)
        self._spool.commit(incarnation, min(receipt.committed, lane.sent))

    def _meet(self, receipt: Receipt) -> None:
        """Start over with another reducer."""
        if self._reducer:
            logger.info("the reducer is another one; sending from the last commit")
        else:
            logger.info("the reducer at %s takes batches", self._options.host)
        self._reducer = receipt.reducer
        for incarnation, lane in self._lanes.items():
            self._rewind(incarnation, lane)

    def _rewind(self, incarnation: str, lane: _Lane) -> None:
        lane.snapshot_taken = False
        lane.cursor = self._spool.settled(incarnation)
        self._spool.take(incarnation, 0)  # what is not there any more is lost with it

    def _post(self, batch: Batch) -> Reply:
        return self._connection.post(batch, self._request_seconds())

    def _request_seconds(self) -> float:
        with self._wake:
            if self._deadline is None:
                return self._options.request_seconds
            return max(self._deadline - time.monotonic(), 0.1)

    def _is_closing(self) -> bool:
        with self._wake:
            return self._deadline is not None

    # Failures

    def _succeed(self) -> None:
        if self._failures:
            logger.info("connected to %s again", self._options.host)
            self._logged.pop("failure", None)
        self._failures = 0

    def _fail_reply(self, reply: Reply) -> None:
        self._fail(f"it answered {reply.text}", reply.least_wait(self._options))

    def _fail(self, text: str, at_least: float = 0.0) -> None:
        """Log, and wait with full jitter."""
        self._count("failures")
        self._log_sparingly("failure", f"cannot send to {self._options.host}: {text}")
        options = self._options
        step = options.backoff_seconds * 2 ** min(self._failures, 30)
        self._failures += 1
        jitter = random.uniform(0, min(step, options.max_backoff_seconds))
        self._wait_out(at_least + jitter)

    def _wait(self, seconds: float | None, submitted: int) -> None:
        """Wait until something is submitted, it closes, or the time is over."""
        with self._wake:
            closing = self._deadline is not None
            self._wake.wait_for(
                lambda: (
                    self._submitted != submitted
                    or self._stopping
                    or (self._deadline is not None) != closing
                ),
                seconds,
            )

    def _wait_out(self, seconds: float) -> None:
        """Wait the time, cut short by closing: then one more try, and short waits."""
        with self._wake:
            closing = self._deadline is not None
            if closing:
                seconds = min(seconds, _CLOSING_POLL_SECONDS * 2)
            self._wake.wait_for(
                lambda: self._stopping or (self._deadline is not None) != closing,
                seconds,
            )

    def _note_refusal(self, sequence: int, reply: Reply) -> None:
        text = f"batch {sequence} refused for good: {reply.text}"
        self._log_sparingly(f"refused {reply.status}", text)

    def _log_sparingly(self, subject: str, text: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(subject, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._logged[subject] = now
            logger.warning("%s", text)

    def _count(self, name: str) -> None:
        with self._wake:
            self._counts[name] += 1


def _empty_snapshot(first: Batch, settled: int) -> Batch:
    header = dataclasses.replace(
        first.header,
        kind=BatchKind.SNAPSHOT,
        sequence=first.header.sequence - 1,
        settled=settled,
    )
    return Batch(header, _EMPTY_BODY, 0)
