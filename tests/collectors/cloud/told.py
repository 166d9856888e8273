"""A reducer's end for tests: what a cloud collector told, by table and key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.collectors.kubernetes.told import Told
from tests.world.waiting import wait_until

from ebpf_net.collectors.encode import encode_body
from ebpf_net.collectors.row_table import Table
from ebpf_net.intake.batch import BatchKind
from ebpf_net.intake.decode import decode_tables
from ebpf_net.schema import REFERENCE_KEYS


class ToldClouds(Told):
    """Counts what it is told, beside keeping what holds."""

    def __init__(self) -> None:
        super().__init__()
        self.told_rows: list[tuple[str, str, bool]] = []
        """Table, key and whether removed, of each row of the windows."""

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        with self._lock:
            rows = list(self.tables.get(f"cloud_{table}", {}).values())
        return sorted(tuple(row[column] for column in columns) for row in rows)

    def wait_for_status(self, name: str, value: int) -> None:
        wait_until(
            lambda: self.status_of_last().get(name) == value, 30, self.status_of_last
        )

    def _apply(self, batch: Any) -> None:
        super()._apply(batch)
        if batch.header.kind is BatchKind.SNAPSHOT:
            return
        for name, rows in materialize_body(batch.body).items():
            key = REFERENCE_KEYS[name]
            with self._lock:
                self.told_rows += [(name, row[key], row["removed"]) for row in rows]


def materialize(tables: Mapping[str, Table]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of tables, as the reducer decodes them."""
    return materialize_body(encode_body(tables))


def materialize_body(body: bytes) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a batch's body, of tables that have some."""
    found = decode_tables(body)
    rows = {name: found[name].to_pylist() for name in found if name in REFERENCE_KEYS}
    return {name: some for name, some in rows.items() if some}
