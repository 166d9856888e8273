"""An intake in memory for tests, and batches to send to it."""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import zstandard

from ebpf_net.intake.batch import Batch, BatchHeader, BatchKind, Receipt
from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.intake.ledger import Ledger, Verdict
from ebpf_net.intake.sink import SnapshotNeeded
from ebpf_net.schema import TABLES, Protocol, Role

WINDOW_NS = 10_000_000_000


def make_header(sequence: int = 1, **changes: Any) -> BatchHeader:
    """Return the header of a window batch, with changes."""
    header = BatchHeader(
        collector="node-1",
        incarnation="run-1",
        host="node-1.example",
        kind=BatchKind.WINDOW,
        sequence=sequence,
        window_start_ns=sequence * WINDOW_NS,
        window_end_ns=(sequence + 1) * WINDOW_NS,
        last_of_window=True,
        status={"lost.ring_full": 0},
    )
    return dataclasses.replace(header, **changes)


def make_table(name: str, rows: Iterable[Mapping[str, object]]) -> pa.Table:
    """Return a table of schema.TABLES; columns that a row lacks are 0, "" or False."""
    filled = [{**_DEFAULTS[name], **row} for row in rows]
    schema = pa.schema(
        [pa.field(column, pa.type_for_alias(kind)) for column, kind in TABLES[name]]  # type: ignore[call-overload]  # any alias
    )
    return pa.Table.from_pylist(filled, schema)


def encode_tables(tables: Mapping[str, pa.Table]) -> bytes:
    """Return the body of a batch, as a collector makes it."""
    out = io.BytesIO()
    for name, table in tables.items():
        named = table.replace_schema_metadata({"table": name})
        with pa.ipc.new_stream(out, named.schema) as writer:
            writer.write_table(named)
    return zstandard.ZstdCompressor(level=1).compress(out.getvalue())


def make_batch(sequence: int = 1, bytes_sent: int = 1, **changes: Any) -> Batch:
    """Return a window batch of one edge with so many bytes."""
    edge = {"protocol": int(Protocol.TCP), "role": int(Role.CLIENT)}
    edges = make_table("edges", [{**edge, "bytes_sent": bytes_sent}])
    return Batch(make_header(sequence, **changes), encode_tables({"edges": edges}), 1)


def make_snapshot(sequence: int = 0, **changes: Any) -> Batch:
    """Return a snapshot with one host."""
    hosts = make_table("hosts", [{"host_id": "node-1"}])
    header = make_header(sequence, kind=BatchKind.SNAPSHOT, **changes)
    return Batch(header, encode_tables({"hosts": hosts}), 1)


@dataclass
class MemorySink:
    """A reducer that only adds up. ``commit_all`` commits what it accepts at once."""

    reducer: str = "reducer-1"
    commit_all: bool = True
    ledger: Ledger = field(default_factory=Ledger)
    batches: list[DecodedBatch] = field(default_factory=list)
    snapshots: list[DecodedBatch] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def accept(
        self,
        batch: DecodedBatch,
        received_ns: int,
        sent_ns: int,  # noqa: ARG002 - part of the interface
    ) -> Receipt:
        """Take a batch once."""
        header = batch.header
        with self.changed:
            verdict = self.ledger.seen(header, received_ns)
            if verdict is Verdict.NEEDS_SNAPSHOT:
                raise SnapshotNeeded
            if verdict is Verdict.NEW:
                snapshot = header.kind is BatchKind.SNAPSHOT
                (self.snapshots if snapshot else self.batches).append(batch)
            if self.commit_all:
                self.commit(header.collector, header.incarnation)
            self.changed.notify_all()
            duplicate = verdict is Verdict.DUPLICATE
            receipt = self.progress(header.collector, header.incarnation)
            return dataclasses.replace(receipt, duplicate=duplicate)

    def progress(self, collector: str, incarnation: str) -> Receipt:
        """Say how far an incarnation has come."""
        return Receipt(
            committed=self.ledger.committed(collector, incarnation),
            received=self.ledger.received(collector, incarnation),
            reducer=self.reducer,
            time_ns=0,
        )

    def commit(self, collector: str = "node-1", incarnation: str = "run-1") -> None:
        """Commit all that has been received."""
        received = self.ledger.received(collector, incarnation)
        self.ledger.commit(collector, incarnation, received)

    def bytes_sent(self) -> int:
        """Return the sum over all edges."""
        with self.changed:
            tables = [batch.tables["edges"] for batch in self.batches]
        return sum(int(table["bytes_sent"].to_numpy().sum()) for table in tables)

    def wait_for_batches(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until so many window batches have been counted."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.batches) >= count, timeout)


_ZEROS: Mapping[str, object] = {"string": "", "bool": False}
_DEFAULTS: Mapping[str, dict[str, object]] = {
    name: {column: _ZEROS.get(kind, 0) for column, kind in columns}
    for name, columns in TABLES.items()
}
