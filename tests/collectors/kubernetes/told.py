"""A reducer's end for tests: puts what a collector tells together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.world.waiting import wait_until

from ebpf_net.intake.batch import Batch, BatchHeader, BatchKind
from ebpf_net.intake.decode import decode_tables
from ebpf_net.schema import REFERENCE_KEYS


class Told:
    """``connect`` makes a sender of one incarnation, which begins with a snapshot."""

    def __init__(self) -> None:
        self.headers: list[BatchHeader] = []
        self.tables: dict[str, dict[str, dict[str, Any]]] = {}
        self.closed = 0
        self._lock = threading.Lock()

    def connect(self, snapshot: Callable[[], Batch]) -> Told:
        self._snapshot: Callable[[], Batch] | None = snapshot
        return self

    def submit(self, batch: Batch) -> None:
        if self._snapshot is not None:
            self._apply(self._snapshot())
            self._snapshot = None
        self._apply(batch)

    def status(self) -> dict[str, int]:
        return {"client.sent": len(self.headers)}

    def close(self, timeout: float) -> bool:
        self.closed += 1
        return True

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        with self._lock:
            rows = list(self.tables.get(f"kubernetes_{table}", {}).values())
        return sorted(tuple(row[column] for column in columns) for row in rows)

    def wait_for(
        self, table: str, columns: tuple[str, ...], *rows: tuple[Any, ...]
    ) -> None:
        """Wait until there are these rows among others."""
        wait_until(
            lambda: set(rows) <= set(self.rows(table, *columns)),
            30,
            lambda: self.rows(table, *columns),
        )

    def windows(self) -> list[BatchHeader]:
        with self._lock:
            return [one for one in self.headers if one.kind is BatchKind.WINDOW]

    def status_of_last(self) -> dict[str, int]:
        windows = self.windows()
        return dict(windows[-1].status) if windows else {}

    def _apply(self, batch: Batch) -> None:
        tables = decode_tables(batch.body)
        with self._lock:
            self.headers.append(batch.header)
            if batch.header.kind is BatchKind.SNAPSHOT:
                self.tables = {}
            for name, table in tables.items():
                if name in REFERENCE_KEYS:
                    self._apply_rows(name, table.to_pylist())

    def _apply_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        known = self.tables.setdefault(name, {})
        for row in rows:
            key = row[REFERENCE_KEYS[name]]
            if row["removed"]:
                known.pop(key, None)
            else:
                known[key] = row
