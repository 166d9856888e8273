"""Where the intake hands batches over, and what it may be told in return."""

from __future__ import annotations

from typing import Protocol

from ebpf_net.intake.batch import Receipt
from ebpf_net.intake.decode import DecodedBatch


class SnapshotNeeded(Exception):
    """Nothing is known of this incarnation: the collector sends a snapshot first."""


class Overloaded(Exception):
    """Not now: the collector keeps the batch and comes again."""

    def __init__(self, retry_after_seconds: float = 1.0) -> None:
        super().__init__(f"try again in {retry_after_seconds} seconds")
        self.retry_after_seconds = retry_after_seconds


class BatchSink(Protocol):
    """The reducer's side. Called from worker threads, but by one at a time."""

    def accept(self, batch: DecodedBatch, received_ns: int, sent_ns: int) -> Receipt:
        """Take a batch; raises SnapshotNeeded or Overloaded.

        ``received_ns`` is this machine's clock when the request's head had come,
        ``sent_ns`` the collector's clock when it began to send.
        """

    def progress(self, collector: str, incarnation: str) -> Receipt:
        """Say how far an incarnation has been received and committed."""
