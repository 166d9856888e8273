"""What a source has reported so far, by connection or by port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ebpf_net.collectors.kernel.records import TCP_RECORD, TcpFlag, TcpRole
from ebpf_net.collectors.kernel.source import KernelSource, Records
from tests.world.waiting import wait_until

_SUMS = (
    "bytes_sent",
    "bytes_received",
    "segments_sent",
    "segments_received",
    "retransmits",
    "resets_sent",
    "resets_received",
    "syn_timeouts",
)


@dataclass(frozen=True)
class Totals:
    """Sums of records, and how many had each flag."""

    opened: int
    closed: int
    failed: int
    bytes_sent: int
    bytes_received: int
    segments_sent: int
    segments_received: int
    retransmits: int
    resets_sent: int
    resets_received: int
    syn_timeouts: int


class Watch:
    """Collects the records of a source and adds them up."""

    def __init__(self, source: KernelSource) -> None:
        self.source = source
        self._records = [np.empty(0, TCP_RECORD)]

    def drain(self) -> Records:
        self._records.append(self.source.drain())
        return self.records

    def scan(self) -> Records:
        self._records.append(self.source.scan())
        return self.records

    def adopt(self) -> Records:
        self._records.append(self.source.adopt())
        return self.records

    @property
    def records(self) -> Records:
        return np.concatenate(self._records)

    def server(self, port: int) -> Totals:
        """What the server's end of all connections to this port did."""
        records = self.records
        return totals(records[(records["local_port"] == port) & ~is_client(records)])

    def client(self, port: int) -> Totals:
        """What the client's end of all connections to this port did."""
        records = self.records
        return totals(records[(records["remote_port"] == port) & is_client(records)])

    def wait_closed(self, port: int, count: int) -> None:
        """Drain until that many connections to this port have closed at both ends."""

        def both_closed() -> bool:
            self.drain()
            return self.server(port).closed == self.client(port).closed == count

        wait_until(both_closed, 60, lambda: self.describe(port))

    def describe(self, port: int) -> str:
        """What was seen, for the message of a test that waits in vain."""
        signals = {each.name: each.attach for each in self.source.signals}
        return (
            f"server {self.server(port)}, client {self.client(port)}, "
            f"{len(self.records)} records, {self.source.losses()}, {signals}"
        )


def is_client(records: Records) -> Any:
    return records["role"] == TcpRole.CLIENT


def totals(records: Records) -> Totals:
    flags = records["flags"]
    return Totals(
        opened=int(((flags & TcpFlag.OPENED) != 0).sum()),
        closed=int(((flags & TcpFlag.CLOSED) != 0).sum()),
        failed=int(((flags & TcpFlag.FAILED) != 0).sum()),
        **{name: int(records[name].astype(np.int64).sum()) for name in _SUMS},
    )
